package sources

import (
	"fmt"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
)

func TestUntilIsWhenTheProjectedBoundExceedsTheLimit(t *testing.T) {
	base := Estimate{At: 1e18, Bound: 20 * time.Microsecond}
	for _, sd := range []time.Duration{0, 20, 100 * time.Microsecond} {
		for _, f := range []float64{0, 0.1, 1, 1000} {
			for _, w := range []float64{0, 0.1, 1, 100} {
				for _, limit := range []time.Duration{21 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 50 * time.Millisecond} {
					t.Run(fmt.Sprint(sd, f, w, limit), func(t *testing.T) {
						e := base
						e.OffsetSD, e.FreqSDPPB, e.WanderPPB, e.LastingWanderPPB = sd, f, w/2, w
						left, ok := e.Until(limit).Get()
						if ok != (f > 0 || w > 0) {
							t.Fatalf("%v, %v", left, ok)
						}
						if !ok {
							return
						}
						at := func(d time.Duration) time.Duration { return e.Project(e.At.Add(d)).Bound - limit }
						slack := left/1_000_000 + time.Microsecond
						if before, after := at(max(0, left-slack)), at(left+slack); before > Confidence || after < -Confidence {
							t.Errorf("%v: the bound is over the limit by %v just before and %v just after", left, before, after)
						}
					})
				}
			}
		}
	}
	if left, ok := base.Until(19 * time.Microsecond).Get(); left != 0 || !ok {
		t.Errorf("a limit that is exceeded already: %v, %v", left, ok)
	}
}

func FuzzUntil(f *testing.F) {
	f.Add(int64(0), int64(1e6), int64(1e3), 1.0, 1.0)
	f.Fuzz(func(t *testing.T, bound, limit, sd int64, freq, wander float64) {
		e := Estimate{At: timescale.Instant(1e18), Bound: time.Duration(bound), OffsetSD: time.Duration(sd), FreqSDPPB: freq, WanderPPB: wander}
		if left, ok := e.Until(time.Duration(limit)).Get(); ok && bound >= 0 && sd >= 0 && freq >= 0 && wander >= 0 && left < 0 {
			t.Errorf("%+v: %v", e, left)
		}
	})
}
