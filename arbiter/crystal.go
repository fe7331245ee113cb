package arbiter

import (
	"math"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Crystal is what was learnt of the oscillator's temperature and ageing, in a form that outlives the
// arbiter.
type Crystal struct {
	// PPBPerKelvin and AgeingPPBPerDay are the coefficients of the rate of UTC against L, each with one
	// standard deviation.
	PPBPerKelvin, PPBPerKelvinSD       float64
	AgeingPPBPerDay, AgeingPPBPerDaySD float64
	// Coldest and Warmest are the temperatures within which it was learnt, in degrees Celsius.
	Coldest, Warmest float64
	// Unexplained is the share of the rate's changes that the temperature left, as a ratio of variances: 1
	// where it explained nothing.
	Unexplained float64
	// Learnt is the instant of UTC of the newest observation.
	Learnt timescale.Instant
}

// Crystal returns what is known of the oscillator at now, absent without a sensor.
func (a *Arbiter) Crystal(now timescale.Instant) sources.Optional[Crystal] {
	t := &a.thermal
	m := &t.model
	if !m.known || !a.model.known {
		return sources.None[Crystal]()
	}
	unexplained := 1.0
	if t.proof.windows >= proofLeast && t.proof.without > 0 {
		unexplained = min(1, t.proof.with/t.proof.without)
	}
	return sources.Some(Crystal{
		PPBPerKelvin: m.coefficient, PPBPerKelvinSD: m.sd(1), AgeingPPBPerDay: m.ageing, AgeingPPBPerDaySD: m.sd(2),
		Coldest: m.least, Warmest: m.most, Unexplained: unexplained, Learnt: m.at.Add(a.model.offsetAt(now)),
	})
}

// InheritCrystal takes what an earlier run learnt, as a first guess twice as unsure as it was. What has
// been proven stays so until this run has judged for itself.
func (a *Arbiter) InheritCrystal(c Crystal) {
	m, p := &a.thermal.model, &a.thermal.proof
	if m.known {
		return
	}
	m.coefficient = max(-maxPPBPerKelvin, min(maxPPBPerKelvin, c.PPBPerKelvin))
	m.ageing = max(-maxPPBPerDay, min(maxPPBPerDay, c.AgeingPPBPerDay))
	m.cov[1][1], m.cov[2][2] = math.Pow(2*c.PPBPerKelvinSD, 2), math.Pow(2*c.AgeingPPBPerDaySD, 2)
	if c.Coldest < c.Warmest {
		m.least, m.most = max(c.Coldest, coldest), min(c.Warmest, hottest)
	}
	if c.Unexplained < proofRatio {
		p.windows, p.with, p.without = proofLeast, c.Unexplained, 1
	}
}
