package candidates

import (
	"fmt"
	"math"
	"testing"

	"clockarbiter/integration/sim"
)

const second sim.Elapsed = 1_000_000_000

var base = Params{Switch: 1e-3, Fast: 20, Slow: 200, Huber: 4, Prior: 2500, Mix: true}

var tried = []struct {
	name string
	new  func() sim.Peer
}{
	{"direct", func() sim.Peer { return NewBank(base) }},
	{"blocked", func() sim.Peer { h := NewHybrid(base); h.Always = true; return h }},
	{"hybrid", func() sim.Peer { return NewHybrid(base) }},
}

func rms(t *testing.T, name string, lab sim.Lab, w float64, from, to sim.Elapsed, seeds uint64) {
	sums := make([]float64, len(tried)+1)
	for seed := uint64(1); seed <= seeds; seed++ {
		lab.Seed = seed
		lab.Oscillator.RandomWalkFM = w
		sigma := lab.Sigma
		if lab.Hold == 0 && lab.Interval < second {
		}
		o := sim.NewOracle(sigma, w)
		peers := []sim.Peer{o}
		for _, c := range tried {
			peers = append(peers, c.new())
		}
		out := lab.Run(peers, func() { o.R *= lab.SigmaFactor * lab.SigmaFactor; o.W *= lab.WFactor })
		for i, s := range out {
			r := s.Window(from, to).RMS()
			sums[i] += r * r
		}
	}
	line := fmt.Sprintf("%-22s limit %6.1f", name, math.Sqrt(sums[0]/float64(seeds)))
	for i, c := range tried {
		line += fmt.Sprintf("  %s %.3f (%.1f)", c.name, math.Sqrt(sums[i+1]/sums[0]), math.Sqrt(sums[i+1]/float64(seeds)))
	}
	t.Log(line)
}

func TestTable(t *testing.T) {
	for _, w := range []float64{1e-10, 1e-9, 1e-8, 1e-7} {
		rms(t, fmt.Sprintf("w %g", w), sim.Lab{Interval: second, Sigma: 50, Duration: 7200 * second}, w, 600*second, 7200*second, 4)
	}
	for _, w := range []float64{1e-9, 1e-7} {
		rms(t, fmt.Sprintf("16Hz w %g", w), sim.Lab{Interval: second / 16, Sigma: 50, Duration: 1800 * second}, w, 600*second, 1800*second, 2)
	}
	for _, w := range []float64{1e-10, 1e-9, 1e-8, 1e-7} {
		for _, hz := range []sim.Elapsed{8, 16} {
			rms(t, fmt.Sprintf("heldoff %d Hz w %g", hz, w), sim.Lab{Interval: second / hz, Sigma: 50, Hold: second, HoldPhase: second/2 + 1, Duration: 1800 * second}, w, 600*second, 1800*second, 2)
			rms(t, fmt.Sprintf("held %d Hz w %g", hz, w), sim.Lab{Interval: second / hz, Sigma: 50, Hold: second, Duration: 1800 * second}, w, 600*second, 1800*second, 2)
		}
	}
	for _, w := range []float64{1e-9} {
		rms(t, fmt.Sprintf("held 1 Hz w %g", w), sim.Lab{Interval: second, Sigma: 50, Hold: second, Duration: 1800 * second}, w, 600*second, 1800*second, 2)
	}
	change := func(name string, w, sf, wf float64) {
		rms(t, name, sim.Lab{Interval: second, Sigma: 50, Duration: 1800 * second, ChangeAt: 1200 * second, SigmaFactor: sf, WFactor: wf}, w, 1320*second, 1440*second, 10)
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
