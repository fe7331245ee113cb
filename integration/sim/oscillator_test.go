package sim

import (
	"math"
	"testing"
	"time"
)

func sampled(spec OscillatorSpec, seed uint64, interval Elapsed, n int) Series {
	o := NewOscillator(spec, seed)
	s := Series{Interval: interval}
	for i := range n {
		s.Values = append(s.Values, o.Phase(Elapsed(i)*interval))
	}
	return s
}

// The Allan deviations are those of theory: white FM falls with the square root of tau, a random walk
// rises with it (w sqrt(tau/3)), flicker is flat (NIST SP 1065, table 3).
func TestNoiseHasItsAllanDeviation(t *testing.T) {
	tests := []struct {
		name string
		spec OscillatorSpec
		want func(tau float64) float64
		tol  float64
	}{
		{"white", OscillatorSpec{WhiteFM: 2}, func(tau float64) float64 { return 2e-9 / math.Sqrt(tau) }, 0.1},
		{"random walk", OscillatorSpec{RandomWalkFM: 1e-9}, func(tau float64) float64 { return 1e-9 * math.Sqrt(tau/3) }, 0.2},
		{"flicker", OscillatorSpec{FlickerFM: 1}, func(float64) float64 { return 1e-9 }, 0.2},
		{"ageing", OscillatorSpec{AgeingPPBPerDay: 86400}, func(tau float64) float64 { return 1e-9 * tau / math.Sqrt2 }, 0.01},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := sampled(tt.spec, 4, second, 20000)
			for _, n := range []int{4, 32, 128} {
				near(t, "ADEV", s.ADEV(n), tt.want(float64(n)), tt.tol)
			}
		})
	}
}

func TestThePathDoesNotDependOnWhenItIsLookedAt(t *testing.T) {
	spec := OscillatorSpec{FrequencyPPB: 5e4, RandomWalkFM: 1e-8, FlickerFM: 1, WhiteFM: 1}
	often, seldom := NewOscillator(spec, 9), NewOscillator(spec, 9)
	for at := Elapsed(0); at <= 10*second; at += 777_777 {
		often.Phase(at)
	}
	if a, b := often.Phase(11*second), seldom.Phase(11*second); a != b {
		t.Errorf("%g and %g", a, b)
	}
}

func TestTemperatureMovesTheFrequency(t *testing.T) {
	o := NewOscillator(OscillatorSpec{Temperature: TemperatureSpec{
		PPBPerKelvin: 100, AmplitudeKelvin: 2, Period: Duration(100 * time.Second),
		Ramps: []TemperatureRamp{{At: Duration(200 * time.Second), Over: Duration(10 * time.Second), Kelvin: 5}},
	}}, 1)
	for _, tt := range []struct {
		at   Elapsed
		want float64
	}{{0, 0}, {25 * second, 200}, {75 * second, -200}, {205 * second, 250 + 100*2*math.Sin(math.Pi/10)}, {300 * second, 500}} {
		o.Phase(tt.at)
		if got := o.FrequencyPPB(); math.Abs(got-tt.want) > 0.5 {
			t.Errorf("at %v: %g ppb, want %g", tt.at.Seconds(), got, tt.want)
		}
	}
}

func TestSuspendStopsL(t *testing.T) {
	o := NewOscillator(OscillatorSpec{Offset: 5}, 1)
	o.Phase(second)
	o.Suspend(3 * second)
	if got := o.Phase(second); got != 5-3e9 {
		t.Errorf("phase %g", got)
	}
}

func TestEventsOfOneInstantHappenInTheOrderOfScheduling(t *testing.T) {
	var q queue
	var order []int
	for i := range 20 {
		q.schedule(Elapsed(5-i%3), func(Elapsed) { order = append(order, i) })
	}
	q.runUntil(4)
	for k := 1; k < len(order); k++ {
		a, b := order[k-1], order[k]
		if a%3 == b%3 && a > b || a%3 < b%3 {
			t.Fatalf("order %v", order)
		}
	}
	if len(order) != 13 {
		t.Errorf("%d events until 4, want 13", len(order))
	}
}

func TestJitterLawsHaveTheirMean(t *testing.T) {
	for _, spec := range []PathSpec{
		{}, {Distribution: "gamma", Shape: 0.5}, {Distribution: "gamma", Shape: 4}, {Distribution: "pareto", Shape: 4},
	} {
		spec.Delay, spec.Jitter, spec.Asymmetry = Duration(time.Millisecond), Duration(100*time.Microsecond), Duration(50*time.Microsecond)
		p := newPath(spec, stream(1, "path"))
		var there, back float64
		const n = 200000
		for range n {
			a, _ := p.there(0)
			b, _ := p.back(0)
			there, back = there+float64(a)/n, back+float64(b)/n
		}
		near(t, spec.Distribution+" there", there, 1.125e6, 0.005)
		near(t, spec.Distribution+" back", back, 1.075e6, 0.005)
	}
}

func TestHeldNoiseChangesOncePerHold(t *testing.T) {
	n := newHeldNoise(50, second, stream(1, "x"))
	n.until = second / 2
	changes, last := 0, n.at(0)
	for at := Elapsed(0); at < 10*second; at += second / 16 {
		if v := n.at(at); v != last {
			changes, last = changes+1, v
		}
	}
	if changes != 10 {
		t.Errorf("%d changes in 10 s", changes)
	}
}
