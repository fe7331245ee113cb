package sources

import (
	"math"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
)

// sample of a source whose UTC runs freqPPB fast against L.
func rateSample(second int, freqPPB float64) Sample {
	return Sample{At: timescale.Instant(second) * timescale.Instant(time.Second), Offset: time.Duration(freqPPB * float64(second)), Dispersion: time.Microsecond}
}

func TestAKnownRateHoldsFromTheFirstSampleAndNotAfterAJump(t *testing.T) {
	tr := NewTracker(TrackerConfig{Rate: Some(Rate{FreqPPB: 40_000, SDPPB: 500})})
	tr.Add(rateSample(0, 40_000))
	at := timescale.Instant(10 * time.Second)
	e, ok := tr.Estimate(at)
	if off := (e.Offset - 400*time.Microsecond).Abs(); !ok || off > time.Microsecond || e.FreqSDPPB > 600 {
		t.Errorf("10 s after one sample: off by %s, rate %.0f +- %.0f ppb; want the known rate", off, e.FreqPPB, e.FreqSDPPB)
	}
	for k := 1; k < 20; k++ {
		s := rateSample(k, 40_000)
		if k >= 5 {
			s.Offset += time.Second
		}
		tr.Add(s)
	}
	if e, _ := tr.Estimate(at); e.Track < 2 {
		t.Errorf("track %d after a jump of a second", e.Track)
	}
	tr.Reset()
	tr.Add(rateSample(100, 0))
	if e, _ := tr.Estimate(timescale.Instant(100 * time.Second)); e.FreqPPB != 0 || e.FreqSDPPB < 100_000 {
		t.Errorf("after a reset: rate %.0f +- %.0f ppb, want nothing known", e.FreqPPB, e.FreqSDPPB)
	}
}

func TestANonsensicalRateIsIgnored(t *testing.T) {
	for _, r := range []Rate{{FreqPPB: math.NaN(), SDPPB: 1}, {FreqPPB: 1e9, SDPPB: 1}, {SDPPB: math.NaN()}, {SDPPB: -1}, {SDPPB: math.Inf(1)}} {
		tr := NewTracker(TrackerConfig{Rate: Some(r)})
		tr.Add(rateSample(0, 0))
		if e, _ := tr.Estimate(0); e.FreqPPB != 0 || math.Round(e.FreqSDPPB) != 250_000 {
			t.Errorf("%+v: rate %g +- %g ppb", r, e.FreqPPB, e.FreqSDPPB)
		}
	}
}
