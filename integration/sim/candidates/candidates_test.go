package candidates

import (
	"flag"
	"fmt"
	"math"
	"testing"
	"time"

	"clockarbiter/integration/sim"
)

var seeds = flag.Uint64("seeds", 1, "runs of each case; the ADR has 10")

var tried = []struct {
	name string
	new  func() sim.Peer
}{
	{"bank of filters (chosen)", func() sim.Peer { return NewTracker() }},
	{"adaptive Kalman filter", func() sim.Peer { return NewAdaptive() }},
	{"robust regression", func() sim.Peer { return NewRegression() }},
	{"PI 0.7/0.3", func() sim.Peer { return sim.NewPI(0.7, 0.3, 1) }},
}

// notFarBetter is the ratio below which another's error calls the choice into question. One that is better in
// one setting alone, as the adaptive filter is after the noise has grown, does not.
const notFarBetter = 0.8

// setting is one kind of source and oscillator, 50 ns of noise.
type setting struct {
	name             string
	w                float64
	interval, hold   time.Duration
	noise, wander    float64 // factors by which the truth changes after 20 min
	from, to         time.Duration
	atMost, notAbove float64 // of the chosen one: ratio to the limit, ns
}

var settings = []setting{
	{name: "w 1e-10", w: 1e-10, interval: time.Second, from: 10 * time.Minute, to: time.Hour, atMost: 1.15},
	{name: "w 1e-9", w: 1e-9, interval: time.Second, from: 10 * time.Minute, to: time.Hour, atMost: 1.1},
	{name: "w 1e-8", w: 1e-8, interval: time.Second, from: 10 * time.Minute, to: time.Hour, atMost: 1.1},
	{name: "w 1e-7", w: 1e-7, interval: time.Second, from: 10 * time.Minute, to: time.Hour, atMost: 1.1},
	{name: "16 Hz, w 1e-9", w: 1e-9, interval: time.Second / 16, from: 10 * time.Minute, to: 30 * time.Minute, atMost: 1.15},
	{name: "16 Hz, w 1e-7", w: 1e-7, interval: time.Second / 16, from: 10 * time.Minute, to: 30 * time.Minute, atMost: 1.15},
	{name: "8 Hz, noise held for 1 s", w: 1e-9, interval: time.Second / 8, hold: time.Second, from: 10 * time.Minute, to: time.Hour, notAbove: 25},
	{name: "w x 10 after 20 min", w: 1e-9, interval: time.Second, noise: 1, wander: 10, from: 22 * time.Minute, to: 24 * time.Minute, atMost: 1.3},
	{name: "w / 10 after 20 min", w: 1e-9, interval: time.Second, noise: 1, wander: 0.1, from: 22 * time.Minute, to: 24 * time.Minute, atMost: 1.4},
	{name: "noise x 10 after 20 min", w: 1e-9, interval: time.Second, noise: 10, wander: 1, from: 22 * time.Minute, to: 24 * time.Minute, atMost: 1.4},
	{name: "noise / 10 after 20 min", w: 1e-9, interval: time.Second, noise: 0.1, wander: 1, from: 22 * time.Minute, to: 24 * time.Minute, atMost: 1.3},
}

func (s setting) scenario(seed uint64) sim.Scenario {
	out := sim.Scenario{
		Seed: seed, Duration: sim.Duration(s.to), Oscillator: sim.OscillatorSpec{RandomWalkFM: s.w, FrequencyPPB: 12_000},
		Sources: []sim.SourceSpec{{ID: "ptp:eth0:0", Kind: sim.PHC, Interval: sim.Duration(s.interval), Noise: 50, Hold: sim.Duration(s.hold)}},
	}
	if s.noise != 0 {
		out.Faults = []sim.Fault{
			{At: sim.Duration(20 * time.Minute), Kind: sim.FaultNoise, Value: s.noise},
			{At: sim.Duration(20 * time.Minute), Kind: sim.FaultWander, Value: s.wander},
		}
	}
	return out
}

// run returns the RMS error of the limit and of each candidate, ns.
func (s setting) run(t *testing.T) []float64 {
	t.Helper()
	squares := make([]float64, len(tried)+1)
	for seed := range *seeds {
		oracle := sim.NewOracle(50, s.w)
		peers := []sim.Peer{oracle}
		for _, c := range tried {
			peers = append(peers, c.new())
		}
		r, err := sim.RunWithPeers(s.scenario(seed+1), peers, func(f sim.Fault) {
			if f.Kind == sim.FaultNoise {
				oracle.R *= f.Value * f.Value
			} else {
				oracle.W *= f.Value
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range r.Peers {
			rms := p.Window(sim.Elapsed(s.from), sim.Elapsed(s.to)).RMS()
			squares[i] += rms * rms / float64(*seeds)
		}
	}
	for i := range squares {
		squares[i] = math.Sqrt(squares[i])
	}
	return squares
}

// TestTheChosenEstimatorIsStillTheBest prints the table of the ADR and holds the chosen one to it.
func TestTheChosenEstimatorIsStillTheBest(t *testing.T) {
	for _, s := range settings {
		got := s.run(t)
		line := ""
		for i, c := range tried {
			line += " | " + c.name + ": " + format(got[i+1])
		}
		t.Logf("%s | limit %s%s", s.name, format(got[0]), line)
		if ratio := got[1] / got[0]; s.atMost > 0 && ratio > s.atMost {
			t.Errorf("%s: the chosen one is at %.3f x the limit, want at most %g", s.name, ratio, s.atMost)
		}
		if s.notAbove > 0 && got[1] > s.notAbove {
			t.Errorf("%s: the chosen one is at %.1f ns, want at most %g", s.name, got[1], s.notAbove)
		}
		for i, c := range tried[1:] {
			if got[i+2] < notFarBetter*got[1] {
				t.Errorf("%s: %s is better than the chosen one: %.1f ns against %.1f ns", s.name, c.name, got[i+2], got[1])
			}
		}
	}
}

func format(ns float64) string { return fmt.Sprintf("%.1f", ns) }
