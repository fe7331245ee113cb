package candidates

import "math"

// Adaptive is one Kalman filter of phase and frequency that learns its two noises from the innovations:
// the spread of a reading from their size, the wander from the sign of the product of neighbours,
// which is zero on average in a filter that knows its noise.
type Adaptive struct {
	count                int
	at, phase, freq      float64
	p00, p01, p11        float64
	variance, wander     float64
	lastNormalInnovation float64
}

// NewAdaptive returns the filter with the noise of a good PHC and a restless crystal.
func NewAdaptive() *Adaptive { return &Adaptive{variance: 2500, wander: 5} }

// Reading takes one reading.
func (a *Adaptive) Reading(at, offset float64) {
	a.count++
	if a.count == 1 {
		a.at, a.phase, a.p00, a.p11 = at, offset, a.variance, 2.5e5*2.5e5
		return
	}
	a.predict(at)
	nu, s := offset-a.phase, a.p00+a.variance
	a.learn(nu, s)
	s = a.p00 + a.variance
	g0, g1 := a.p00/s, a.p01/s
	a.phase += g0 * nu
	a.freq += g1 * nu
	a.p11 -= g1 * a.p01
	a.p01 *= 1 - g0
	a.p00 *= 1 - g0
}

func (a *Adaptive) predict(at float64) {
	dt, q := (at-a.at)*1e-9, a.wander*a.wander
	a.at = at
	a.phase += a.freq * dt
	a.p00 += 2*dt*a.p01 + dt*dt*a.p11 + q*dt*dt*dt/3
	a.p01 += dt*a.p11 + q*dt*dt/2
	a.p11 += q * dt
}

func (a *Adaptive) learn(nu, s float64) {
	share := a.variance / s
	observed := share*share*math.Min(nu*nu, 9*s) + a.variance*(1-share)
	a.variance = math.Max(1, a.variance+(observed-a.variance)/math.Min(float64(a.count)+4, 64))
	normal := math.Max(-3, math.Min(3, nu/math.Sqrt(s)))
	if a.count > 16 {
		a.wander = math.Max(0.03, math.Min(100, a.wander*math.Exp(0.015*normal*a.lastNormalInnovation)))
	}
	a.lastNormalInnovation = normal
}

// Clock returns the estimate.
func (a *Adaptive) Clock(at float64) float64 { return a.phase + a.freq*(at-a.at)*1e-9 }
