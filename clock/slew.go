package clock

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/clock/timescale"
)

const (
	// slewMemory and slewSpacing are how far back and how densely the past is kept against which the
	// present is compared.
	slewMemory  = 20 * time.Second
	slewSpacing = 200 * time.Millisecond
	// slewTolerancePPB is the rate beyond what was learnt that is not called a slew: what the kernel
	// rounds.
	slewTolerancePPB = 20
	// ratePriorPPB is how far the uncommanded rate may be from the oscillator's before it is learnt:
	// CLOCK_MONOTONIC and CLOCK_MONOTONIC_RAW round one counter's rate differently.
	ratePriorPPB = 200
	// rateLeak is by how much what was learnt of the rate is widened, in ppb per second.
	rateLeak = 0.01
	// effectDelay is how long after the call a new frequency takes effect at most. Since Linux 4.18 it
	// does so within the call (kernel/time/timekeeping.c, do_adjtimex).
	effectDelay = 50 * time.Microsecond
	// latencyShare is the share of the smallest reading window by which the latencies before and after
	// a reading may differ from one reading to the next.
	latencyShare = 1.0 / 8
	// latencyLeak is how fast the smallest window is forgotten, per second: a virtual machine moves to
	// a slower host.
	latencyLeak = 1e-4
	// latencyReadings is how many readings it takes to know the smallest window. Until then all of a
	// window may be error.
	latencyReadings = 64
	// slewProof is how many observations in a row must show a slew: one may have been read in an
	// unusual way.
	slewProof = 3
	// rateBaseline is how far apart two observations must be to teach us of the usual rate.
	rateBaseline = slewMemory / 2
)

// slew watches for a rate of CLOCK_MONOTONIC - L that the commanded frequency does not explain. All
// figures are ns, s and ppb (1 ppb is 1 ns per s).
type slew struct {
	oscillator float64 // the uncommanded rate that is expected
	lo, hi     float64 // where the uncommanded rate lies

	started  bool
	at       timescale.Instant
	freq     float64
	origin   time.Duration // of Monotonic
	expected float64       // what was commanded since origin
	doubt    float64       // by how much expected may be wrong; it only grows
	past     []slewPoint   // oldest first
	latency  float64       // the smallest window
	readings int           // that latency is the smallest of, up to latencyReadings
	compared timescale.Instant
	suspect  int // observations in a row that show a slew
}

// slewPoint is one observation, less what was commanded.
type slewPoint struct {
	at            timescale.Instant
	value, window float64
	doubt         float64
}

func newSlew(oscillatorPPB float64) slew {
	s := slew{oscillator: oscillatorPPB}
	s.unlearn()
	return s
}

func (s *slew) unlearn() { s.lo, s.hi = s.oscillator-ratePriorPPB, s.oscillator+ratePriorPPB }

// forget starts over where what happened since the last observation is not known.
func (s *slew) forget() { s.started, s.suspect, s.past = false, 0, s.past[:0] }

// commanded accounts for the frequencies that were in force between the last observation and at.
func (s *slew) commanded(writes []Write, at timescale.Instant) {
	from := s.at
	for _, w := range writes {
		freq, ok := w.Command.FreqPPB.Get()
		if !ok {
			continue
		}
		middle := w.Before.Add(w.After.Sub(w.Before) / 2)
		s.expected += s.freq * middle.Sub(from).Seconds()
		s.doubt += math.Abs(freq-s.freq) * (w.After.Sub(w.Before)/2 + effectDelay).Seconds()
		from, s.freq = middle, freq
	}
	s.expected += s.freq * at.Sub(from).Seconds()
}

// observe takes an observation in, with the frequency in force at its instant and the writes since the
// last one. It returns the uncommanded slew, if it shows.
func (s *slew) observe(o Siblings, freqPPB float64, writes []Write) (Intrusion, bool) {
	if s.started {
		s.commanded(writes, o.At)
		elapsed := o.At.Sub(s.at).Seconds()
		s.lo, s.hi = s.lo-rateLeak*elapsed, s.hi+rateLeak*elapsed
		s.latency *= 1 + latencyLeak*elapsed
	} else {
		s.started, s.origin, s.expected, s.doubt = true, o.Monotonic.Value, 0, 0
	}
	// The driver's word counts: it knows what the kernel's quantum made of our command.
	s.at, s.freq = o.At, freqPPB
	p := slewPoint{
		at: o.At, value: float64(o.Monotonic.Value-s.origin) - s.expected, window: s.window(o.Monotonic.Window), doubt: s.doubt,
	}
	if len(s.past) > 0 && p.at.Sub(s.compared) < slewSpacing/2 {
		return Intrusion{}, false // two readings of one moment
	}
	s.compared = p.at
	from := s.excess(p)
	if from < 0 {
		s.suspect = 0
		s.learn(p)
		s.keep(p)
		return Intrusion{}, false
	}
	if s.suspect++; s.suspect < slewProof {
		return Intrusion{}, false
	}
	found := s.intrusion(s.past[from], p)
	s.past, s.suspect = append(s.past[:0], p), 0
	s.unlearn()
	return found, true
}

// window is how far the errors of two readings may differ, one's share of it. Most of a reading window
// is the time that the calls take at least: it shifts every reading alike and cancels in a rate. What
// a window exceeds the smallest one by may be error, and a share of the smallest.
func (s *slew) window(w time.Duration) float64 {
	if s.readings == 0 || float64(w) < s.latency {
		s.latency = float64(w)
	}
	if s.readings < latencyReadings {
		s.readings++
		return float64(w) + 1
	}
	return float64(w) - s.latency + latencyShare*s.latency + 1
}

// excess returns the point of the past from which the clock most clearly ran to p at a rate that what is
// known of its rate excludes, -1 where there is none.
func (s *slew) excess(p slewPoint) int {
	worst, from := 0.0, -1
	for i, q := range s.past {
		lo, hi := q.rateTo(p)
		if x := max(lo-s.hi, s.lo-hi) - slewTolerancePPB; x > worst {
			worst, from = x, i
		}
	}
	return from
}

// learn narrows what is known of the usual rate.
func (s *slew) learn(p slewPoint) {
	for _, q := range s.past {
		if p.at.Sub(q.at) < rateBaseline {
			return // the rest is younger still
		}
		lo, hi := q.rateTo(p)
		s.lo, s.hi = min(max(s.lo, lo), s.hi), max(min(s.hi, hi), s.lo)
	}
}

// rateTo returns between which rates the clock ran from q to p: anything where hardly any time passed.
func (q slewPoint) rateTo(p slewPoint) (lo, hi float64) {
	dt := p.at.Sub(q.at)
	if dt < slewSpacing/2 {
		return math.Inf(-1), math.Inf(1)
	}
	moved, e := p.value-q.value, p.window+q.window+p.doubt-q.doubt
	return (moved - e) / dt.Seconds(), (moved + e) / dt.Seconds()
}

func (s *slew) intrusion(q, p slewPoint) Intrusion {
	usual := (s.lo + s.hi) / 2
	dt := p.at.Sub(q.at).Seconds()
	rate := (p.value - q.value) / dt
	return Intrusion{
		What: SlewMade, RatePPB: rate - usual, Since: q.at, When: p.at,
		Amount: time.Duration(math.Round((rate - usual) * dt)),
		Evidence: fmt.Sprintf("CLOCK_MONOTONIC against CLOCK_MONOTONIC_RAW: %+.1f ppb beyond the commanded frequency over %.2f s, known to be within %+.1f and %+.1f ppb",
			rate, dt, s.lo, s.hi),
	}
}

// keep remembers p unless a point of about that time is remembered.
func (s *slew) keep(p slewPoint) {
	if n := len(s.past); n > 0 && p.at.Sub(s.past[n-1].at) < slewSpacing {
		return
	}
	old := 0
	for old < len(s.past) && p.at.Sub(s.past[old].at) > slewMemory {
		old++
	}
	s.past = append(s.past[:0], s.past[old:]...)
	s.past = append(s.past, p)
}
