package sim

import (
	"math"
	"math/rand/v2"
	"testing"
)

const second Elapsed = 1_000_000_000

func series(values ...float64) Series { return Series{Interval: second, Values: values} }

func TestPlainStatistics(t *testing.T) {
	s := series(3, -4, 0, 0)
	for _, tt := range []struct {
		name      string
		got, want float64
	}{
		{"RMS", s.RMS(), 2.5},
		{"maximum", s.Max(), 4},
		{"median of the absolute values", s.Percentile(0.5), 0},
		{"75 %", s.Percentile(0.75), 3},
		{"100 %", s.Percentile(1), 4},
		{"RMS of nothing", series().RMS(), 0},
		{"percentile of nothing", series().Percentile(0.5), 0},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %g, want %g", tt.name, tt.got, tt.want)
		}
	}
}

func TestWindowAndLastAbove(t *testing.T) {
	s := Series{Interval: second, Start: second / 2, Values: []float64{9, 1, 8, 1, 2}}
	w := s.Window(second, 4*second)
	if w.Start != 3*second/2 || len(w.Values) != 3 || w.Values[0] != 1 {
		t.Errorf("window %+v", w)
	}
	if at, ok := s.LastAbove(5); at != 7*second/2 || !ok {
		t.Errorf("last above 5 until %v, %v", at, ok)
	}
	if _, ok := s.LastAbove(1); ok {
		t.Error("the last value is above 1, and it counts as settled")
	}
}

// White phase noise of deviation s has ADEV sqrt(3) s / tau and TDEV s / sqrt(n); a parabola has an ADEV of
// its drift times tau / sqrt(2) (NIST SP 1065, table 3).
func TestDeviationsOfKnownNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	white, parabola := Series{Interval: second}, Series{Interval: second}
	for i := range 40000 {
		x := float64(i)
		white.Values = append(white.Values, 50*rng.NormFloat64())
		parabola.Values = append(parabola.Values, 0.5*3*x*x)
	}
	for _, n := range []int{1, 4, 32} {
		tau := float64(n)
		near(t, "ADEV of white noise", white.ADEV(n), math.Sqrt(3)*50e-9/tau, 0.05)
		near(t, "TDEV of white noise", white.TDEV(n), 50/math.Sqrt(tau), 0.1)
		near(t, "ADEV of a drift", parabola.ADEV(n), 3e-9*tau/math.Sqrt2, 1e-6)
	}
	if !math.IsNaN(series(1, 2).ADEV(1)) || !math.IsNaN(series(1, 2).TDEV(1)) || !math.IsNaN(series(1).MTIE(1)) {
		t.Error("a deviation from too short a series")
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got/want-1) > tolerance || math.IsNaN(got) {
		t.Errorf("%s: %g, want %g within %g %%", what, got, want, 100*tolerance)
	}
}

func TestMTIEIsTheWidestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	s := Series{Interval: second}
	for range 300 {
		s.Values = append(s.Values, rng.NormFloat64())
	}
	for _, n := range []int{1, 7, 299} {
		var want float64
		for i := 0; i+n < len(s.Values); i++ {
			low, high := extremes(s.Values[i : i+n+1])
			want = max(want, high-low)
		}
		if got := s.MTIE(n); got != want {
			t.Errorf("MTIE(%d) %g, want %g", n, got, want)
		}
	}
}

func TestFrequencyOfARamp(t *testing.T) {
	s := Series{Interval: second}
	for i := range 100 {
		s.Values = append(s.Values, 7*float64(i))
	}
	near(t, "frequency", s.Frequency(), 7, 1e-9)
}
