package sim

import (
	"math"
	"os"
	"testing"
)

const second Elapsed = 1_000_000_000

func TestPeersReproduceTheirKnownFigures(t *testing.T) {
	for _, w := range []float64{1e-10, 1e-9, 1e-8, 1e-7} {
		var sum [3]float64
		const seeds = 3
		for seed := uint64(1); seed <= seeds; seed++ {
			lab := Lab{Oscillator: OscillatorSpec{RandomWalkFM: w}, Interval: second, Sigma: 50, Duration: 7200 * second, Seed: seed}
			out := lab.Run([]Peer{NewOracle(50, w), NewPI(.7, .3, 1), NewPI(.1, .001, 1)}, nil)
			for i, s := range out {
				r := s.Window(600*second, lab.Duration).RMS()
				sum[i] += r * r
			}
		}
		t.Logf("w %g: oracle %.1f PI %.1f slow PI %.1f", w, math.Sqrt(sum[0]/seeds), math.Sqrt(sum[1]/seeds), math.Sqrt(sum[2]/seeds))
	}
	_ = os.Stderr
}
