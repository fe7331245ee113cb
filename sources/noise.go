package sources

import "math"

// noise is the learnt spread of single readings about the estimate. It decides what is an outlier and
// is what people see as jitter; the estimate itself weighs readings by what its filters learn.
type noise struct {
	variance float64 // of a reading over the path's minimum, ns^2
	learnt   int     // samples that variance was learnt from
}

const (
	// gateSD is how far from its prediction a sample may be, in standard deviations.
	gateSD = 5
	// clipSD limits what one sample can teach about the spread.
	clipSD = 3
	// memory is the number of samples, and for fast sources of seconds, over which the spread is
	// averaged: readings of a fast source may be the same for a second and then jump, all within
	// their noise.
	memory = 64
	// minSpread is the smallest spread believed of any reading: 1 ns is what the kernel's
	// interfaces resolve.
	minSpread = 1.0
)

func newNoise(spread float64) noise {
	return noise{variance: math.Max(spread*spread, minSpread*minSpread)}
}

// learn moves the variance towards what an innovation says of it: the expected square of the
// reading's own share, given the innovation (one step of expectation maximisation). predicted is the
// variance of the whole innovation, dt the seconds since the last one. An innovation that says
// nothing, because the state is uncertain, changes nothing. The first samples raise the spread at
// once and lower it slowly.
func (n *noise) learn(innovation, predicted, dt float64) {
	square := math.Min(innovation*innovation, clipSD*clipSD*predicted)
	share := n.variance / predicted
	observed := share*share*square + n.variance*(1-share)
	samples := memory / clamp(dt, 1.0/memory, 1)
	if observed > n.variance {
		samples = math.Min(float64(n.learnt)+4, samples)
	}
	n.variance = clamp(n.variance+(observed-n.variance)/samples, minSpread*minSpread, maxScale)
	n.learnt++
}

// wanderAverage is the mean of the learnt wander's square. The present value, which comes and goes by a
// factor of two, is the best guess of the present wander.
type wanderAverage struct {
	square float64
	count  int
}

const (
	// wanderAfter is the number of samples from which the wander is learnt well enough to be
	// averaged, wanderMemory the number averaged over.
	wanderAfter, wanderMemory = 64, 1024
)

func (w *wanderAverage) add(square float64) {
	if w.count++; w.count > wanderAfter {
		w.square += (square - w.square) / min(float64(w.count-wanderAfter), wanderMemory)
	}
}

// clamp limits v; NaN, which a sum of opposite infinities would give, is taken as hi.
func clamp(v, lo, hi float64) float64 {
	if v >= lo && v <= hi {
		return v
	}
	if v < lo {
		return lo
	}
	return hi
}
