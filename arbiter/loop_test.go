package arbiter_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// host closes the loop: trackers, arbiter, and a clock that follows the target at 400 us per second.
// True UTC is L + truth(now); the oscillator is 40 ppm off and wanders by 1 ppb per root second.
type host struct {
	rng     *rand.Rand
	start   timescale.Instant
	now     timescale.Instant
	truth   float64
	freqPPB float64
	system  float64 // system clock - L, ns
	arb     *arbiter.Arbiter
	servers []*server
}

type server struct {
	id      sources.ID
	kind    sources.Kind
	every   time.Duration
	next    timescale.Instant
	base    float64 // one-way delay, ns
	jitter  float64
	lie     float64
	silent  bool
	tracker *sources.Tracker
}

const start = timescale.Instant(1_700_000_000_000_000_000)

// newHost is the network of the demo: software PTP and three NTP servers on veth.
func newHost(seed uint64) *host {
	h := &host{rng: rand.New(rand.NewPCG(seed, 5)), start: start, now: start, truth: 15e6, freqPPB: 40_000, arb: arbiter.New(arbiter.DefaultConfig())}
	for i, id := range []sources.ID{"ntp:a", "ntp:b", "ntp:c", "ptp:eth0"} {
		s := &server{id: id, kind: sources.NTP, every: 2 * time.Second, base: 25e3, jitter: 6e3, next: start.Add(time.Duration(i*137) * time.Millisecond)}
		if i == 3 {
			s.kind, s.every, s.base, s.jitter = sources.PTP, time.Second, 20e3, 5e3
		}
		s.tracker = sources.NewTracker(sources.TrackerConfig{Source: id, Kind: s.kind})
		h.servers = append(h.servers, s)
	}
	return h
}

const period = 250 * time.Millisecond

// tick advances by a control period, decides, and lets the clock follow.
func (h *host) tick() arbiter.Decision {
	dt := period.Seconds()
	h.now = h.now.Add(period)
	h.truth += h.freqPPB * dt
	h.freqPPB += math.Sqrt(dt) * h.rng.NormFloat64()
	in := arbiter.Input{Now: h.now, System: time.Duration(h.system)}
	for _, s := range h.servers {
		in.Candidates = append(in.Candidates, h.ask(s))
	}
	d := h.arb.Step(in)
	if step, ok := d.Step.Get(); ok {
		h.system += float64(step)
	}
	if target, ok := d.Target.Get(); ok {
		// The discipline steers the rate towards where the target will be at the next tick.
		left := float64(target.Offset) + target.FreqPPB*dt - h.system - target.FreqPPB*dt
		h.system += target.FreqPPB*dt + max(-400e3*dt, min(400e3*dt, left/4))
	}
	return d
}

func (h *host) ask(s *server) arbiter.Candidate {
	s.tracker.Observe(h.now)
	if h.now >= s.next && !s.silent {
		s.next = s.next.Add(s.every)
		there, back := s.base+s.jitter*h.rng.ExpFloat64(), s.base+s.jitter*h.rng.ExpFloat64()
		s.tracker.Add(sources.Sample{
			Source: s.id, At: h.now, Offset: time.Duration(h.truth + s.lie + (there-back)/2),
			Delay: sources.Some(time.Duration(there + back)), Dispersion: time.Microsecond,
		})
	}
	c := arbiter.Candidate{ID: s.id, Kind: s.kind, Options: arbiter.Options{Prefer: s.kind == sources.PTP}}
	c.Report = sources.Some(sources.Report{Source: s.id, At: h.now, Condition: sources.Measuring})
	if e, ok := s.tracker.Estimate(h.now); ok {
		c.Estimate = sources.Some(e)
	}
	return c
}

// err is the true error of the system clock at the next instant that anybody reads it.
func (h *host) err() time.Duration {
	return time.Duration(h.system - (h.truth + h.freqPPB*period.Seconds()))
}

func (h *host) since() time.Duration { return h.now.Sub(h.start) }

// settle runs until the clock follows PTP and returns.
func (h *host) settle(t *testing.T, d time.Duration) {
	t.Helper()
	for h.since() < d {
		h.tick()
	}
	if e := h.err(); e > 20*time.Microsecond || e < -20*time.Microsecond {
		t.Fatalf("after %v the clock is %v off", d, e)
	}
}

func TestColdStartStepsOnceAndRightly(t *testing.T) {
	for seed := range uint64(6) {
		h := newHost(seed)
		steps, reached := 0, time.Duration(0)
		for h.since() < 30*time.Second {
			d := h.tick()
			if d.Step.Present() {
				steps++
			}
			if off := h.err(); off < 100*time.Microsecond && off > -100*time.Microsecond {
				if reached == 0 {
					reached = h.since()
				}
			} else {
				reached = 0
			}
		}
		if steps != 1 || reached == 0 || reached > 6*time.Second {
			t.Errorf("seed %d: %d steps, under 100 us for good after %v", seed, steps, reached)
		}
	}
}

func TestFalsetickerMovesNothing(t *testing.T) {
	for seed := range uint64(3) {
		for liar := range 4 {
			t.Run(fmt.Sprint(seed, liar), func(t *testing.T) { falseticker(t, seed, liar) })
		}
	}
}

func falseticker(t *testing.T, seed uint64, liar int) {
	h := newHost(seed)
	h.settle(t, 60*time.Second)
	h.servers[liar].lie = 15e6
	named := time.Duration(0)
	for h.since() < 120*time.Second {
		d := h.tick()
		if e := h.err(); e > 20*time.Microsecond || e < -20*time.Microsecond {
			t.Fatalf("%v after the lie began the clock is %v off", h.since()-60*time.Second, e)
		}
		v := d.Verdicts[liar]
		if v.State == arbiter.Falseticker && named == 0 {
			named = h.since() - 60*time.Second
		}
		if selected, _ := d.Selected.Get(); liar != 3 && selected != "ptp:eth0" {
			t.Fatalf("selection moved to %q: %s", selected, d.Reason)
		}
	}
	if limit := 3*h.servers[liar].every + time.Second; named == 0 || named > limit {
		t.Errorf("named after %v, limit %v", named, limit)
	}
}

func TestFailOverAndReturn(t *testing.T) {
	for seed := range uint64(3) {
		h := newHost(seed)
		h.settle(t, 60*time.Second)
		h.servers[3].silent = true
		var left, back time.Duration
		for h.since() < 180*time.Second {
			if h.since() == 120*time.Second {
				h.servers[3].silent, h.servers[3].next = false, h.now
			}
			d := h.tick()
			if e := h.err(); e > 25*time.Microsecond || e < -25*time.Microsecond {
				t.Fatalf("seed %d: at %v the clock is %v off", seed, h.since(), e)
			}
			selected, _ := d.Selected.Get()
			if left == 0 && selected != "ptp:eth0" {
				left = h.since() - 60*time.Second
			}
			if left > 0 && back == 0 && selected == "ptp:eth0" {
				back = h.since() - 120*time.Second
			}
			if !d.Selected.Present() {
				t.Fatalf("seed %d: at %v nobody is followed: %s", seed, h.since(), d.Reason)
			}
		}
		if left == 0 || left > 5*time.Second || back <= 0 || back > 20*time.Second {
			t.Errorf("seed %d: left PTP after %v, returned after %v", seed, left, back)
		}
	}
}

func TestHoldoverBoundContainsTheTruth(t *testing.T) {
	for seed := range uint64(2) {
		h := newHost(seed)
		h.settle(t, 300*time.Second)
		for _, s := range h.servers {
			s.silent = true
		}
		for h.since() < 3900*time.Second {
			d := h.tick()
			target, ok := d.Target.Get()
			if !ok {
				t.Fatalf("seed %d: no target at %v: %s", seed, h.since(), d.Reason)
			}
			if miss := math.Abs(float64(target.Offset) - h.truth); miss > float64(d.Bound.Or(0)) {
				t.Fatalf("seed %d: at %v off by %.0f ns, bound %v", seed, h.since(), miss, d.Bound)
			}
		}
	}
}
