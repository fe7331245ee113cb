package sources

import "math"

// filter is a Kalman filter of two states, the phase in ns and the frequency in ns/s of one source
// against L. Time advances with predict, a measurement enters with update.
type filter struct {
	phase, freq   float64
	p00, p01, p11 float64 // covariance: ns^2, ns^2/s, ns^2/s^2
}

// maxVariance bounds each variance, 1e18 ns^2 being one second: wide enough to mean "unknown" and
// far from where a float64 overflows.
const maxVariance = 1e60

// newFilter starts at phase 0 with the variance of the first measurement and no knowledge of the
// frequency but its prior.
func newFilter(variance, freqSD float64) filter {
	return filter{p00: variance, p11: freqSD * freqSD}
}

// predict carries the state dt seconds on; wander is the random walk of the frequency in
// ns/s per square root of a second.
func (f *filter) predict(dt, wander float64) {
	age := math.Abs(dt)
	q := wander * wander
	f.phase += f.freq * dt
	f.p00 += 2*dt*f.p01 + dt*dt*f.p11 + q*age*age*age/3
	f.p01 += dt*f.p11 + q*dt*age/2
	f.p11 += q * age
	f.repair()
}

// update takes the measurement z with variance r.
func (f *filter) update(z, r float64) {
	s := f.p00 + r
	k0, k1 := f.p00/s, f.p01/s
	innovation := z - f.phase
	f.phase += k0 * innovation
	f.freq += k1 * innovation
	// Joseph's form keeps the covariance positive in spite of rounding.
	a, b := 1-k0, -k1
	p00, p01, p11 := f.p00, f.p01, f.p11
	f.p00 = a*a*p00 + k0*k0*r
	f.p01 = a*(b*p00+p01) + k0*k1*r
	f.p11 = b*b*p00 + 2*b*p01 + p11 + k1*k1*r
	f.repair()
}

// repair keeps the covariance a covariance: finite, variances positive, correlation within +-1.
func (f *filter) repair() {
	f.p00 = clamp(f.p00, 1e-12, maxVariance)
	f.p11 = clamp(f.p11, 1e-18, maxVariance)
	limit := math.Sqrt(f.p00) * math.Sqrt(f.p11)
	f.p01 = clamp(f.p01, -limit, limit)
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
