package ptp

import (
	"math"
	"strings"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
)

// phcSim is a master, ptp4l and its PHC, against L: an oscillator, and linuxptp's PI servo, which acts on each
// Sync after the Follow_Up.
type phcSim struct {
	master          func(l float64) float64 // master's timescale - L, ns, at L in s
	interval        float64                 // between Syncs, s
	phase, rate     float64                 // PHC - L in ns at now, and ppb
	now, integral   float64
	ingress, offset int64
}

const followUp = 0.004 // s

func (p *phcSim) advance(to float64) { p.phase, p.now = p.phase+p.rate*(to-p.now), to }

// run runs one Sync interval: a Sync at its begin, and a reading at each of the given shares of it.
func (p *phcSim) run(readings ...float64) []PHCReading {
	begin := p.now
	off := p.phase - p.master(begin)
	p.ingress, p.offset = int64(begin*1e9+p.phase), int64(math.Round(off))
	p.advance(begin + followUp)
	p.integral += 0.3 * off / p.interval
	p.rate = -(0.7*off/p.interval + p.integral)
	if math.Abs(off) >= float64(stepThreshold) {
		p.phase -= off
		p.rate, p.integral = 0, 0
	}
	var out []PHCReading
	for _, share := range readings {
		p.advance(begin + share*p.interval)
		l := timescale.Instant(math.Round(p.now * 1e9))
		out = append(out, PHCReading{Time: int64(l) + int64(math.Round(p.phase)), At: l, Window: 10})
	}
	p.advance(begin + p.interval)
	return out
}

func (p *phcSim) snapshot() Snapshot {
	return snapshot(func(s *Snapshot) { s.Time.IngressTimeNS, s.Time.MasterOffsetNS = p.ingress, p.offset })
}

// follow runs n intervals and returns the error of each reading of the master, in ns, with those that were
// outside their own dispersion.
func (p *phcSim) follow(t *testing.T, tracker *phcTracker, n int, shares ...float64) (errors []float64) {
	t.Helper()
	interval := time.Duration(p.interval * 1e9)
	for range n {
		readings := p.run(shares...)
		for _, m := range tracker.status(true, p.snapshot(), interval) {
			e := float64(m.offset) - p.master(float64(m.at)/1e9)
			if math.Abs(e) > float64(m.dispersion) {
				t.Errorf("at %.2f s: reading of the master is off by %.0f ns, dispersion %v", float64(m.at)/1e9, e, m.dispersion)
			}
			errors = append(errors, math.Abs(e))
		}
		for _, r := range readings {
			tracker.reading(r)
		}
	}
	return errors
}

func worst(e []float64) (w float64) {
	for _, x := range e {
		w = max(w, x)
	}
	return w
}

// What the servo does to the PHC is not in the readings of the master: not while it pulls the PHC in by
// 50 us and 30 ppm, and not when it is at rest.
func TestReadingsOfTheMasterDoNotFollowTheServo(t *testing.T) {
	for _, interval := range []float64{0.125, 1, 4} {
		shares := []float64{0.1, 0.6}
		p := &phcSim{master: func(l float64) float64 { return 37e9 - 25_000*l }, interval: interval, now: 100, phase: 37e9 - 25_000*100 + 50_000, rate: 30_000}
		var tracker phcTracker
		first := p.follow(t, &tracker, 8, shares...)
		if len(first) < 12 {
			t.Errorf("interval %v s: %d readings from the first 8 Syncs; %s", interval, len(first), tracker.why)
		}
		if w := worst(p.follow(t, &tracker, 40, shares...)[60:]); w > 2 {
			t.Errorf("interval %v s: at rest, off by up to %.0f ns", interval, w)
		}
	}
}

// A master that jumps is seen where it is, while the servo has hardly begun to follow or steps after it.
func TestAMasterThatJumpsIsSeenAtOnce(t *testing.T) {
	for _, jump := range []float64{300e3, 0.95e6, 1.2e6, 15e6, -37e9} {
		for _, share := range []float64{0.1, 0.5, 0.9} {
			jumps(t, jump, share)
		}
	}
}

func jumps(t *testing.T, jump, share float64) {
	t.Helper()
	lie := 0.0
	p := &phcSim{master: func(l float64) float64 { return 37e9 - 20_000*l + lie }, interval: 1, now: 100, phase: 37e9 - 20_000*100, rate: -20_000}
	var tracker phcTracker
	p.follow(t, &tracker, 20, share)
	lie = jump
	if got := p.follow(t, &tracker, 1, share); len(got) < 1 {
		t.Errorf("a jump by %v: no reading with the first Sync after it; %s", time.Duration(jump), tracker.why)
	}
	if got := p.follow(t, &tracker, 8, share); len(got) < 3 {
		t.Errorf("a jump by %v: %d readings in 8 s; %s", time.Duration(jump), len(got), tracker.why)
	}
}

// Where Syncs are missed between polls there is no straight line: readings count once the servo is at rest.
func TestReadingsBetweenMissedSyncsWaitForTheServo(t *testing.T) {
	p := &phcSim{master: func(l float64) float64 { return 37e9 + 20*math.Sin(l) }, interval: 0.125, now: 100, phase: 37e9 + 50_000}
	var tracker phcTracker
	var first float64
	got := 0
	for i := range 400 {
		readings := p.run(0.5)
		if i%8 == 0 {
			for _, m := range tracker.status(true, p.snapshot(), 125*time.Millisecond) {
				if got++; got == 1 {
					first = p.now - 100
				}
				if e := math.Abs(float64(m.offset) - p.master(float64(m.at)/1e9)); e > float64(m.dispersion) {
					t.Errorf("off by %.0f ns, dispersion %v", e, m.dispersion)
				}
			}
		}
		tracker.reading(readings[0])
	}
	if got < 100 || first < 2 {
		t.Errorf("%d readings, the first after %.1f s", got, first)
	}
}

func TestAJumpOfThePHCIsNoReadingOfTheMaster(t *testing.T) {
	p := &phcSim{master: func(float64) float64 { return 37e9 }, interval: 1, now: 100, phase: 37e9}
	var tracker phcTracker
	p.follow(t, &tracker, 5, 0.1, 0.6)
	// Link down and up: the driver sets it to the system clock.
	tracker.reading(phcAt(p.now, 0))
	if tracker.jumped == 0 || !strings.Contains(tracker.why, "PHC jumped by -37") {
		t.Errorf("jumped %v, %q", tracker.jumped, tracker.why)
	}
	if got := tracker.status(true, p.snapshot(), time.Second); len(got) != 0 {
		t.Errorf("readings over the jump: %v", got)
	}
	if got := p.follow(t, &tracker, 5, 0.1, 0.6); len(got) < 5 || tracker.jumped != 0 {
		t.Errorf("%d readings in the 5 s after; %s", len(got), tracker.why)
	}
}

func TestNoReadingsOfTheMasterWithoutOne(t *testing.T) {
	for _, c := range []struct {
		name    string
		follows bool
		change  func(*Snapshot)
	}{
		{"no port follows", false, func(*Snapshot) {}},
		{"no grandmaster", true, func(s *Snapshot) { s.Time.GMPresent = 0 }},
		{"a zero before any delay is known", true, func(s *Snapshot) { s.Time.MasterOffsetNS, s.Current.MeanPathDelay = 0, 0 }},
		{"no Sync", true, func(s *Snapshot) { s.Time.IngressTimeNS = 0 }},
		{"the same Sync", true, func(s *Snapshot) { s.Time.IngressTimeNS = 1 }},
	} {
		p := &phcSim{master: func(float64) float64 { return 37e9 }, interval: 1, now: 100, phase: 37e9}
		var tracker phcTracker
		p.follow(t, &tracker, 5, 0.1, 0.6)
		for i := range 3 {
			tracker.reading(p.run(0.5)[0])
			s := p.snapshot()
			c.change(&s)
			if got := tracker.status(c.follows, s, time.Second); len(got) != 0 && i > 0 {
				t.Errorf("%s: %v", c.name, got)
			}
		}
	}
}
