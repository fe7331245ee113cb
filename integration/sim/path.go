package sim

import "math/rand/v2"

// path is a network path with its present state. Delays are in ns.
type path struct {
	spec PathSpec
	rng  *rand.Rand
	// scale multiplies the jitter, congestion adds to its mean until congestedUntil.
	scale          float64
	congestion     float64
	congestedUntil Elapsed
}

func newPath(spec PathSpec, rng *rand.Rand) *path { return &path{spec: spec, rng: rng, scale: 1} }

// there and back draw the one-way delays to the server and from it; lost tells that the packet does
// not arrive.
func (p *path) there(now Elapsed) (delay Elapsed, lost bool) {
	return p.draw(now, float64(p.spec.Asymmetry)/2)
}

func (p *path) back(now Elapsed) (delay Elapsed, lost bool) {
	return p.draw(now, -float64(p.spec.Asymmetry)/2)
}

func (p *path) draw(now Elapsed, skew float64) (Elapsed, bool) {
	mean := float64(p.spec.Jitter) * p.scale
	if now < p.congestedUntil {
		mean += p.congestion
	}
	random := p.jitter() // always drawn, so that a fault leaves the stream in step
	lost := p.rng.Float64() < p.spec.Loss
	return Elapsed(max(0, float64(p.spec.Delay)+skew+mean*random)), lost
}

// jitter draws from the path's law with unit mean.
func (p *path) jitter() float64 {
	switch p.spec.Distribution {
	case "gamma":
		return gamma(p.rng, p.spec.Shape) / p.spec.Shape
	case "pareto":
		return pareto(p.rng, p.spec.Shape)
	}
	return p.rng.ExpFloat64()
}
