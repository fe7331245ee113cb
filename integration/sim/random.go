package sim

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// stream returns the random stream of one component. Components do not share a stream, so that one
// more server leaves the oscillator's path as it was.
func stream(seed uint64, component string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(component)) // never fails
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// gamma draws from the gamma distribution of the given shape and unit scale (Marsaglia and Tsang,
// ACM TOMS 26, 2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(1-rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// pareto draws from the Lomax distribution (a Pareto tail that starts at 0) of the given shape and
// unit mean; shape must be above 1.
func pareto(rng *rand.Rand, shape float64) float64 {
	return (shape - 1) * (math.Pow(1-rng.Float64(), -1/shape) - 1)
}
