package servo

import (
	"testing"
	"time"

	"clockarbiter/clock/timescale"
)

func TestAResumedRateEndsASlewThatWasLeftInForce(t *testing.T) {
	// The predecessor was killed while it slewed by 400 ppm; the oscillator is 40 ppm fast, UTC runs
	// 10 ppm fast against L.
	const bias, rate, left = 40_000, 10_000, -30_000 + 400_000
	s := New(Limits{Interval: 250 * time.Millisecond, MaxSlewPPM: 400, MaxFrequencyPPM: 500, MaxTotalPPM: 1000})
	s.Resume(rate)
	at, clock, freq := timescale.Instant(0), time.Duration(0), float64(left)
	for k := range 6 {
		out := s.Step(Input{At: at, System: clock, Window: 100, FreqPPB: freq})
		f, commanded := out.FreqPPB.Get()
		if k == 0 && commanded {
			t.Errorf("a frequency of %.0f ppb was commanded before the clock was known", f)
		}
		if k > 1 && (!commanded || f+bias-rate > 2000 || f+bias-rate < -2000) {
			t.Errorf("tick %d: frequency %.0f ppb (%v), want %d", k, f, commanded, rate-bias)
		}
		if commanded {
			freq = f
		}
		clock += time.Duration((freq + bias) * 0.25)
		at += timescale.Instant(250 * time.Millisecond)
	}
}
