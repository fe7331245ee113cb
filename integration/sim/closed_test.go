package sim

import (
	"fmt"
	"testing"
	"time"
)

func phcScenario(w float64, interval time.Duration, seed uint64) Scenario {
	return Scenario{
		Name: "phc", Seed: seed, Duration: Duration(2 * time.Hour), Settle: Duration(10 * time.Minute),
		Oscillator: OscillatorSpec{RandomWalkFM: w, FrequencyPPB: 12_000},
		Sources:    []SourceSpec{{ID: "ptp:eth0:0", Kind: PHC, Interval: Duration(interval), Noise: 50, Dispersion: 20, ClockClass: 6, Grandmaster: "gm1"}},
	}
}

func ntpScenario(seed uint64) Scenario {
	s := Scenario{
		Name: "ntp", Seed: seed, Duration: Duration(12 * time.Hour), Settle: Duration(1 * time.Hour),
		Oscillator: OscillatorSpec{RandomWalkFM: 1e-9, FrequencyPPB: 12_000},
	}
	for i := range 4 {
		s.Sources = append(s.Sources, SourceSpec{ID: idOf(i), Kind: NTPServer, Interval: Duration(16 * time.Second), Start: Duration(time.Duration(i) * 4 * time.Second),
			Path: PathSpec{Delay: Duration(time.Millisecond), Jitter: Duration(100 * time.Microsecond)}})
	}
	return s
}

func show(t *testing.T, name string, s Scenario) Result {
	start := time.Now()
	r, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	conv := -1.0
	if r.Converged != nil {
		conv = *r.Converged
	}
	t.Logf("%-20s rms %.1f max %.0f p999 %.0f control %.2f bounded %.5f bound50 %.0f ratio %.2f converged %.1f steps %d sel %v modes %v (%v)", name, r.RMS, r.Max, r.P999, r.ControlRMS, r.Bounded, r.BoundP50, r.BoundP50/r.P999, conv, r.Steps, len(r.Selections), r.Modes, time.Since(start).Round(time.Millisecond))
	return r
}

func TestClosed(t *testing.T) {
	for _, w := range []float64{1e-10, 1e-9, 1e-8, 1e-7} {
		show(t, fmt.Sprintf("w %g", w), phcScenario(w, time.Second, 1))
	}
	show(t, "16 Hz", phcScenario(1e-9, time.Second/16, 1))
	show(t, "ntp", ntpScenario(1))
}
