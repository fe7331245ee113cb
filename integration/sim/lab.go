package sim

import "math/rand/v2"

// Lab is an experiment on one source that is read directly, as a PHC is: every estimator gets the
// same readings of the same oscillator, and the error of its clock is sampled between them.
type Lab struct {
	Oscillator OscillatorSpec
	// Interval is the distance of readings.
	Interval Elapsed
	// Sigma is the deviation of the reading noise in ns. It is drawn once per Hold and the same in
	// between, as behind a busy bus; 0 draws it for each reading.
	Sigma float64
	Hold  Elapsed
	// HoldPhase shifts the instants at which held noise changes.
	HoldPhase Elapsed
	// ChangeAt multiplies Sigma by SigmaFactor and w by WFactor at that instant; 0 for never.
	ChangeAt             Elapsed
	SigmaFactor, WFactor float64
	Duration             Elapsed
	Seed                 uint64
}

// truthInterval is the distance of the samples of the true error: 10 Hz. They fall between the
// readings and the control ticks, so that neither side of a jump is preferred.
const truthInterval Elapsed = 100_000_000

// Run returns the error of each peer's clock against truth, clock - UTC. At ChangeAt it calls
// changed, where an oracle can be told.
func (l Lab) Run(peers []Peer, changed func()) []Series {
	osc := NewOscillator(l.Oscillator, l.Seed)
	noise := newHeldNoise(l.Sigma, l.Hold, stream(l.Seed, "reading"))
	noise.until = l.HoldPhase
	out := make([]Series, len(peers))
	for i := range out {
		out[i] = Series{Interval: truthInterval, Start: truthInterval / 2, Values: make([]float64, 0, l.Duration/truthInterval+1)}
	}
	var q queue
	if l.ChangeAt > 0 {
		q.schedule(l.ChangeAt, func(Elapsed) {
			osc.SetRandomWalk(l.Oscillator.RandomWalkFM * l.WFactor)
			noise.sigma *= l.SigmaFactor
			changed()
		})
	}
	q.every(0, l.Interval, func(now Elapsed) {
		phase := osc.Phase(now)
		offset := noise.at(now) - phase
		for _, p := range peers {
			p.Reading(float64(now)+phase, offset)
		}
	})
	q.every(truthInterval/2, truthInterval, func(now Elapsed) {
		phase := osc.Phase(now)
		for i, p := range peers {
			out[i].Values = append(out[i].Values, p.Clock(float64(now)+phase)+phase)
		}
	})
	q.runUntil(l.Duration)
	return out
}

// heldNoise is white noise that may be held for a while.
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
