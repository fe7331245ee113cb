package candidates

import (
	"fmt"
	"math"
	"testing"
	"time"

	"clockarbiter/integration/sim"
)

const second = time.Second

var base = Params{Switch: 1e-3, Fast: 20, Slow: 200, Huber: 4, Prior: 2500, Mix: true}

var tried = []struct {
	name string
	new  func() sim.Peer
}{
	{"tracker", func() sim.Peer { return NewTracker() }},
	{"direct", func() sim.Peer { return NewBank(base) }},
	{"blocked", func() sim.Peer { h := NewHybrid(base); h.Always = true; return h }},
	{"hybrid", func() sim.Peer { return NewHybrid(base) }},
}

type lab struct {
	interval, hold, phase, duration, changeAt time.Duration
	sigmaFactor, wFactor                      float64
}

func rms(t *testing.T, name string, l lab, w float64, from, to time.Duration, seeds uint64) {
	sums := make([]float64, len(tried)+2)
	for seed := uint64(1); seed <= seeds; seed++ {
		o := sim.NewOracle(50, w)
		peers := []sim.Peer{o}
		for _, c := range tried {
			peers = append(peers, c.new())
		}
		s := sim.Scenario{
			Seed: seed, Duration: sim.Duration(l.duration), Oscillator: sim.OscillatorSpec{RandomWalkFM: w},
			Sources: []sim.SourceSpec{{ID: "ptp:eth0:0", Kind: sim.PHC, Interval: sim.Duration(l.interval), Noise: 50, Hold: sim.Duration(l.hold), HoldPhase: sim.Duration(l.phase)}},
		}
		if l.changeAt > 0 {
			s.Faults = []sim.Fault{
				{At: sim.Duration(l.changeAt), Kind: sim.FaultNoise, Value: l.sigmaFactor},
				{At: sim.Duration(l.changeAt), Kind: sim.FaultWander, Value: l.wFactor},
			}
		}
		r, err := sim.RunWithPeers(s, peers, func(f sim.Fault) {
			if f.Kind == sim.FaultNoise {
				o.R *= f.Value * f.Value
			} else {
				o.W *= f.Value
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range append(r.Peers, r.Error) {
			r := s.Window(sim.Elapsed(from), sim.Elapsed(to)).RMS()
			sums[i] += r * r
		}
	}
	line := fmt.Sprintf("%-22s limit %6.1f", name, math.Sqrt(sums[0]/float64(seeds)))
	for i, c := range tried {
		line += fmt.Sprintf("  %s %.3f (%.1f)", c.name, math.Sqrt(sums[i+1]/sums[0]), math.Sqrt(sums[i+1]/float64(seeds)))
	}
	last := sums[len(tried)+1]
	line += fmt.Sprintf("  closed loop %.3f (%.1f)", math.Sqrt(last/sums[0]), math.Sqrt(last/float64(seeds)))
	t.Log(line)
}

func TestHeld(t *testing.T) {
	for _, w := range []float64{1e-9} {
		for _, hz := range []time.Duration{1, 8, 16} {
			rms(t, fmt.Sprintf("held %d Hz w %g", hz, w), lab{interval: second / hz, hold: second, duration: 3600 * second}, w, 600*second, 3600*second, 6)
		}
	}
}

func TestTable(t *testing.T) {
	for _, w := range []float64{1e-10, 1e-9, 1e-8, 1e-7} {
		rms(t, fmt.Sprintf("w %g", w), lab{interval: second, duration: 7200 * second}, w, 600*second, 7200*second, 4)
	}
	for _, w := range []float64{1e-9, 1e-7} {
		rms(t, fmt.Sprintf("16Hz w %g", w), lab{interval: second / 16, duration: 1800 * second}, w, 600*second, 1800*second, 2)
	}
	for _, w := range []float64{1e-10, 1e-9, 1e-8, 1e-7} {
		for _, hz := range []time.Duration{8, 16} {
			rms(t, fmt.Sprintf("heldoff %d Hz w %g", hz, w), lab{interval: second / hz, hold: second, phase: second/2 + 1, duration: 1800 * second}, w, 600*second, 1800*second, 2)
			rms(t, fmt.Sprintf("held %d Hz w %g", hz, w), lab{interval: second / hz, hold: second, duration: 1800 * second}, w, 600*second, 1800*second, 2)
		}
	}
	for _, w := range []float64{1e-9} {
		rms(t, fmt.Sprintf("held 1 Hz w %g", w), lab{interval: second, hold: second, duration: 1800 * second}, w, 600*second, 1800*second, 2)
	}
	change := func(name string, w, sf, wf float64) {
		rms(t, name, lab{interval: second, duration: 1800 * second, changeAt: 1200 * second, sigmaFactor: sf, wFactor: wf}, w, 1320*second, 1440*second, 10)
	}
	change("w 1e-9 up", 1e-9, 1, 10)
	change("w 1e-8 down", 1e-8, 1, .1)
	change("w 1e-10 up", 1e-10, 1, 10)
	change("w 1e-9 down", 1e-9, 1, .1)
	change("s up", 1e-9, 10, 1)
	change("s down", 1e-9, .1, 1)
	change("s up 1e-8", 1e-8, 10, 1)
	change("s down 1e-8", 1e-8, .1, 1)
}
