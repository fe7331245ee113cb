package sources

import "math"

// noise is what is learnt of one source: the spread of its readings and the wander of the
// oscillator against it. Neither is configured.
type noise struct {
	variance float64 // of a reading over the path's minimum, ns^2
	learnt   int     // samples that variance was learnt from
	wander   float64 // ns/s per square root of a second
	last     float64 // previous innovation in its standard deviations
}

const (
	// gateSD is how far from its prediction a sample may be, in standard deviations.
	gateSD = 5
	// clipSD limits what one sample can teach about the spread.
	clipSD = 3
	// memory is the number of samples over which the spread is averaged.
	memory = 64
	// minSpread is the smallest spread believed of any reading: 1 ns is what the kernel's
	// interfaces resolve.
	minSpread = 1.0

	// The wander starts at that of a restless crystal, so that the first bounds are honest, and stays within what
	// an OCXO and a virtual machine on a busy host show.
	wanderStart, wanderMin, wanderMax = 5.0, 0.03, 100.0
	// Innovations of a filter that knows its noise are white: the product of neighbours averages to
	// zero. wanderGain is how far one product moves the logarithm of the wander; wanderBias
	// leans towards too large a wander, which costs a little noise, where too small a one
	// costs the bound its honesty. Nothing is learnt from the first wanderAfter samples.
	wanderGain, wanderBias, wanderAfter = 0.015, 0.04, 16
)

func newNoise(spread float64) noise {
	return noise{variance: math.Max(spread*spread, minSpread*minSpread), wander: wanderStart}
}

// learnSpread moves the variance towards what an innovation says of it: the expected square of the
// reading's own share, given the innovation (one step of expectation maximisation). predicted is the
// variance of the whole innovation. An innovation that says nothing, because the state is
// uncertain, changes nothing.
func (n *noise) learnSpread(innovation, predicted float64) {
	square := math.Min(innovation*innovation, clipSD*clipSD*predicted)
	share := n.variance / predicted
	observed := share*share*square + n.variance*(1-share)
	gain := 1 / math.Min(float64(n.learnt)+4, memory)
	n.variance = clamp(n.variance+gain*(observed-n.variance), minSpread*minSpread, maxVariance)
	n.learnt++
}

// learnWander raises the wander where neighbouring innovations agree in sign, which shows that the
// oscillator moves more than the filter thinks, and lowers it where they do not.
func (n *noise) learnWander(innovation, predicted float64) {
	normal := clamp(innovation/math.Sqrt(predicted), -clipSD, clipSD)
	product := normal * n.last
	n.last = normal
	if n.learnt > wanderAfter {
		n.wander = clamp(n.wander*math.Exp(wanderGain*(product+wanderBias)), wanderMin, wanderMax)
	}
}
