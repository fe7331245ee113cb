package sim

import "math/rand/v2"

// heldNoise is white noise that may be held: drawn once per hold and the same in between, as a
// reading behind a busy bus is.
type heldNoise struct {
	sigma float64
	hold  Elapsed
	until Elapsed
	value float64
	rng   *rand.Rand
}

func newHeldNoise(sigma float64, hold Elapsed, rng *rand.Rand) *heldNoise {
	return &heldNoise{sigma: sigma, hold: hold, rng: rng}
}

func (n *heldNoise) at(now Elapsed) float64 {
	if n.hold == 0 {
		return n.sigma * n.rng.NormFloat64()
	}
	for now >= n.until {
		n.until += n.hold
		n.value = n.sigma * n.rng.NormFloat64()
	}
	return n.value
}
