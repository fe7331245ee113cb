package ptp

import (
	"math"
	"testing"
	"time"
)

// loop is a master, ptp4l with linuxptp's PI servo, and its PHC: what comes of timestamps that the monitor
// places by its readings of a PHC that is steered meanwhile.
type loop struct {
	master   func(l float64) float64 // master's timescale - L in ns, at L in s
	interval float64                 // between Syncs, s; a delay request half way between
	phc      steered
	integral float64 // of the servo, ppm
	next     float64 // Sync, s of L
	track    phcTrack
	exchange *Exchange
}

const (
	wire = 500    // ns one way
	late = 0.003  // s from a timestamp to its record, at which the PHC is read
	acts = 0.0031 // s from a Sync to what the servo does
	read = 0.25   // s between other readings
)

func newLoop(interval float64, master func(float64) float64, phcOffset, phcPPM float64) *loop {
	return &loop{
		master: master, interval: interval, phc: steered{at: 100, offset: phcOffset, ppm: phcPPM}, next: 100.2,
		exchange: NewExchange(false, Hardware),
	}
}

// masterAt is what the master's clock shows at an instant of L in s.
func (p *loop) masterAt(l float64) int64 {
	return epoch + int64(math.Round(l*1e9)) + int64(math.Round(p.master(l)))
}

// run plays n intervals and returns the error of each measurement in ns; one beyond its own promise fails
// the test.
func (p *loop) run(t *testing.T, n int) (errs []float64) {
	t.Helper()
	check := func(ms []Measurement) {
		for _, m := range ms {
			l := float64(int64(m.At)-epoch) / 1e9
			e := float64(m.Offset) - p.master(l)
			if math.Abs(e) > float64(m.Delay/2+m.Dispersion) {
				t.Errorf("interval %v s, at %.2f s: off by %.0f ns, dispersion %v", p.interval, l, e, m.Dispersion)
			}
			errs = append(errs, e)
		}
	}
	for range n {
		at := p.next
		stamp := p.phc.read(at).Time
		p.track.observe(p.phc.read(at + late))
		if t2, w, err := p.track.local(stamp); err == nil {
			check(p.exchange.Sync(Sync{Parent: masterA, T1: p.masterAt(at - wire*1e-9), T2: t2, Window: w}))
		}
		p.steer(at)
		p.between(at+acts, at+p.interval/2)
		stamp = p.phc.read(at + p.interval/2).Time
		p.track.observe(p.phc.read(at + p.interval/2 + late))
		if t3, _, err := p.track.local(stamp); err == nil {
			check(p.exchange.Delay(DelayRequest{Parent: masterA, T3: t3, T4: p.masterAt(at + p.interval/2 + wire*1e-9)}))
		}
		p.next = at + p.interval
		p.between(at+p.interval/2+2*late, p.next)
	}
	return errs
}

// between reads the PHC as the monitor does when there are no timestamps.
func (p *loop) between(from, to float64) {
	for at := from + min(read, (to-from)/2); at < to; at += read {
		p.track.observe(p.phc.read(at))
	}
}

// steer is what ptp4l does with a Sync: a step beyond its threshold, else a rate.
func (p *loop) steer(at float64) {
	off := float64(p.phc.read(at).offset()) - p.master(at)
	if math.Abs(off) >= float64(stepThreshold) {
		p.phc.turn(at+acts, p.phc.ppm, -off)
		return
	}
	ppm := off / 1000 / p.interval
	p.integral += 0.3 * ppm
	p.phc.turn(at+acts, -(0.7*ppm + p.integral), 0)
}

func largest(errs []float64) (w float64) {
	for _, e := range errs {
		w = max(w, math.Abs(e))
	}
	return w
}

// What the servo does to the PHC is in no measurement: not while it pulls the PHC in by 50 us and 30 ppm, and not
// when it is at rest.
func TestMeasurementsDoNotFollowTheServo(t *testing.T) {
	for _, interval := range []float64{0.125, 1, 4} {
		p := newLoop(interval, func(l float64) float64 { return 37e9 - 25_000*l }, 37e9-25_000*100+50_000, 30)
		first := p.run(t, 12)
		if len(first) < 8 {
			t.Errorf("interval %v s: %d measurements of the first 12 Syncs", interval, len(first))
		}
		if w := largest(first); w > 100 {
			t.Errorf("interval %v s: off by up to %.0f ns while the PHC is pulled in", interval, w)
		}
		p.run(t, 20)
		if w := largest(p.run(t, 40)); w > 5 {
			t.Errorf("interval %v s: off by up to %.0f ns at rest", interval, w)
		}
	}
}

// A master that jumps is seen where it is at its first Sync, while the servo has yet to follow or to step.
func TestAMasterThatJumpsIsSeenAtOnce(t *testing.T) {
	for _, jump := range []float64{300e3, 0.95e6, 1.2e6, 15e6, -37e9} {
		lie := 0.0
		p := newLoop(1, func(l float64) float64 { return 37e9 - 20_000*l + lie }, 37e9-20_000*100, -20)
		p.run(t, 20)
		lie = jump
		if got := p.run(t, 1); len(got) != 1 || largest(got) > 50 {
			t.Errorf("a jump by %v: %.0f ns off with the first Sync after it", time.Duration(jump), got)
		}
		if got := p.run(t, 6); len(got) < 5 {
			t.Errorf("a jump by %v: %d measurements of 6 Syncs", time.Duration(jump), len(got))
		}
	}
}

// The driver resets the PHC to the system clock when the link comes up.
func TestAResetOfThePHCMovesNoMeasurement(t *testing.T) {
	p := newLoop(1, func(float64) float64 { return 37e9 }, 37e9, 0)
	p.run(t, 10)
	p.phc.turn(p.next-0.1, 0, -37e9)
	if got := p.run(t, 8); len(got) < 6 || largest(got) > 50 {
		t.Errorf("%d measurements of 8 Syncs, %.0f ns off at most", len(got), largest(got))
	}
}

// Syncs that get lost cost no more than themselves.
func TestMissedSyncs(t *testing.T) {
	p := newLoop(1, func(l float64) float64 { return 37e9 + 20*math.Sin(l) }, 37e9+50_000, 0)
	p.run(t, 10)
	p.between(p.next, p.next+3)
	p.next += 3
	if got := p.run(t, 5); len(got) != 5 || largest(got) > 60 {
		t.Errorf("%d measurements of 5 Syncs, %.0f ns off at most", len(got), largest(got))
	}
}
