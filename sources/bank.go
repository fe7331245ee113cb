package sources

import "math"

// The bank is a set of Kalman filters of two states, phase and frequency, that differ in what they
// take the oscillator's wander to be in units of the reading noise, and in how much they think of the
// delay. Each learns the scale of both from its own innovations; how well each predicted decides how
// much it counts. So neither noise is configured, and the estimate is within a few percent of that
// of a filter that is told them (docs/adr/0010-estimator.md).
const (
	// ratios filters cover w/sigma, the wander per square root of a second over the deviation of a
	// reading, a factor of 3 apart: the optimum in between costs less than 2 %. They begin where the
	// wander is 0.001 ppb, 30 times less than that of an OCXO, behind the noise first guessed, and
	// end 5e6 times higher: a guess that is 30 times off does no harm.
	ratios      = 15
	ratioStep   = 3.0
	leastWander = 1e-3
	// shapes are the ways to weigh the delay: as the error's measure, and as a hint against the worst.
	shapes = 2
	// spans are the memories, in samples, with which each filter learns its scale: the short one is
	// right soon after the noise has changed, the long one is less noisy.
	spans               = 2
	shortSpan, longSpan = 20, 200
	// switching is the probability per sample that the truth moves to another filter.
	switching = 1e-3
	// negligible is the weight up to which a filter is not part of the summary.
	negligible = 0.002
	// huberSD limits what one reading moves and teaches, in standard deviations (Huber).
	huberSD = 4
	// restless is the wander, in ns/s per square root of a second, above which a filter is not likely
	// from the start: that of a virtual machine's clock.
	restless = 100
	// tails are the degrees of freedom of the Student distribution by which predictions are judged:
	// few enough that an outlier does not overturn what was learnt.
	tails = 7
)

// shape says how the variance of a reading depends on its delay: floor + slope * (excess/usual)^2,
// times the learnt scale.
type shape struct{ floor, slope float64 }

// The delay above the path's minimum is queueing; an unknown part of it is in the offset. Where queues
// are all the noise there is, the readings of least delay are better by far; where it is
// timestamping, the delay says little.
var delayShapes = [shapes]shape{{floor: 0.01, slope: 1}, {floor: 1, slope: 1.0 / 16}}

// belief is the state of a filter with its uncertainty, at one instant: ns, ns/s and products.
type belief struct {
	phase, freq   float64
	p00, p01, p11 float64
}

// after returns the belief dt seconds on; q is the square of the wander, ns^2/s^3.
func (b belief) after(dt, q float64) belief {
	b.advance(dt, q)
	b.repair()
	return b
}

// with returns the belief after a reading that is off by innovation, of variance r.
func (b belief) with(innovation, r float64) belief {
	b.correct(innovation, r)
	return b
}

// advance moves the belief by dt seconds.
func (b *belief) advance(dt, q float64) {
	age := math.Abs(dt)
	b.phase += b.freq * dt
	grown := b.p11 * dt
	walked := q * age
	b.p00 += dt*(2*b.p01+grown) + walked*dt*dt/3
	b.p01 += grown + walked*dt/2
	b.p11 += walked
}

// correct takes a reading in.
func (b *belief) correct(innovation, r float64) {
	inverse := 1 / (b.p00 + r)
	g0, g1 := b.p00*inverse, b.p01*inverse
	b.phase += g0 * innovation
	b.freq += g1 * innovation
	b.p11 -= g1 * b.p01
	b.p01 *= r * inverse
	b.p00 *= r * inverse
	b.repair()
}

// repair keeps the covariance a covariance: finite, variances positive, correlation within +-1.
func (b *belief) repair() {
	if b.p00 >= minVariance && b.p11 >= minVariance && b.p00 <= maxVariance && b.p11 <= maxVariance &&
		b.p01*b.p01 <= b.p00*b.p11 {
		return
	}
	b.p00 = clamp(b.p00, minVariance, maxVariance)
	b.p11 = clamp(b.p11, minVariance, maxVariance)
	limit := math.Sqrt(b.p00) * math.Sqrt(b.p11)
	b.p01 = clamp(b.p01, -limit, limit)
}

// minVariance and maxVariance bound each variance: far beyond what is measured, and far from where
// the products of a float64 leave its range.
const (
	minVariance = 1e-40
	maxVariance = 1e60
)

// model is one filter. Its covariance is in units of its scale, the variance in ns^2 of a reading of
// shape 1.
type model struct {
	belief
	q      float64        // (w/sigma)^2, 1/s^3
	shape  int            // index into delayShapes
	scale  [spans]float64 // by memory
	weight [spans]float64 // probability, by memory
	nu, s  float64        // newest innovation and its variance in units of the scale
}

func (m *model) probability() float64 { return m.weight[0] + m.weight[1] }

// noise is the scale as both memories have it.
func (m *model) noise() float64 {
	p := m.probability()
	if !(p > 0) {
		return m.scale[1]
	}
	return (m.weight[0]*m.scale[0] + m.weight[1]*m.scale[1]) / p
}

// bank is the set. Its summary, best, is the mean of the filters by their weights.
type bank struct {
	models []model
	count  int // readings
	best   belief
	noise  float64 // variance of a reading of shape 1, ns^2
	wander float64 // square of the wander, ns^2/s^3
}

// newBank starts at the phase of the first reading and its variance, with no knowledge of the
// frequency but its prior. One shape is enough without delays.
func newBank(shapesInUse int, phase, variance, freqSD float64) bank {
	b := bank{models: make([]model, shapesInUse*ratios), count: 1}
	for i := range b.models {
		m := &b.models[i]
		w := leastWander * math.Pow(ratioStep, float64(i%ratios))
		m.q, m.shape = w*w/variance, shapes-shapesInUse+i/ratios
		m.belief = belief{phase: phase, p00: 1, p11: freqSD * freqSD / variance}
		for k := range m.scale {
			m.scale[k], m.weight[k] = variance, 1/(1+w*w/(restless*restless))
		}
	}
	b.normalise()
	b.summarise()
	return b
}

// start begins with a frequency other than 0.
func (b *bank) start(freq float64) {
	for i := range b.models {
		b.models[i].freq = freq
	}
	b.summarise()
}

// update takes a reading of phase z, dt seconds after the last one. excess is its delay above the
// minimum in units of the usual, extra a variance in ns^2 that comes on top of the noise.
func (b *bank) update(dt, z, excess, extra float64) {
	b.mix()
	first := b.count == 1
	b.count++
	b.predict(dt, z, excess, extra)
	if !first { // the second reading says what the frequency is, and nothing of the noise
		b.weigh()
	}
	for i := range b.models {
		b.models[i].take(b.count, first)
	}
	b.summarise()
}

// teach learns from a reading that is not believed: that the spread may have grown.
func (b *bank) teach(dt, z, excess, extra float64) {
	if b.count < 3 {
		return
	}
	for i := range b.models {
		m := &b.models[i]
		next := m.after(dt, m.q)
		m.nu = z - next.phase
		m.s = next.p00 + m.reading(excess, extra)
		m.learn(m.clipped(), b.count)
	}
	b.noise = b.meanNoise()
}

// reading is the variance of a reading in units of the scale.
func (m *model) reading(excess, extra float64) float64 {
	f := delayShapes[m.shape]
	return f.floor + f.slope*excess*excess + extra/m.scale[1]
}

// predict moves each filter to the reading.
func (b *bank) predict(dt, z, excess, extra float64) {
	for i := range b.models {
		m := &b.models[i]
		m.advance(dt, m.q)
		m.nu = z - m.phase
		m.s = m.p00 + m.reading(excess, extra)
	}
}

// weigh multiplies each weight with the density of the reading under it.
func (b *bank) weigh() {
	for i := range b.models {
		m := &b.models[i]
		for k := range m.weight {
			v := m.scale[k] * m.s
			u := 1 + min(m.nu*m.nu/v, 1e6)/(tails-2)
			u *= u
			m.weight[k] /= math.Sqrt(v) * u * u
		}
	}
	b.normalise()
}

// normalise makes the weights add up to 1, even ones where nothing is left of them.
func (b *bank) normalise() {
	var total float64
	for i := range b.models {
		total += b.models[i].probability()
	}
	usable := total > 0 && !math.IsInf(total, 0)
	for i := range b.models {
		for k := range b.models[i].weight {
			w := &b.models[i].weight[k]
			if *w /= total; !usable {
				*w = 1 / float64(len(b.models)*spans)
			}
		}
	}
}

// take corrects the filter and its scale by the reading.
func (m *model) take(count int, first bool) {
	nu := m.nu
	if !first {
		nu = m.clipped()
		m.learn(nu, count)
	}
	m.correct(nu, m.s-m.p00)
}

func (m *model) clipped() float64 {
	limit := huberSD * math.Sqrt(m.noise()*m.s)
	return clamp(m.nu, -limit, limit)
}

func (m *model) learn(nu float64, count int) {
	square := nu * nu / m.s
	n := float64(count - 1)
	m.scale[0] += (square - m.scale[0]) / min(n, shortSpan)
	m.scale[1] += (square - m.scale[1]) / min(n, longSpan)
	for k := range m.scale {
		m.scale[k] = clamp(m.scale[k], minScale, maxScale)
	}
}

// minScale and maxScale bound the variance of a reading: a tenth of a nanosecond, and 30 years.
const (
	minScale = 1e-2
	maxScale = 1e36
)

// mix lets each filter take over from the others with the probability of switching: an unlikely one
// starts from what the likely ones found (the interacting multiple model of Blom and Bar-Shalom,
// IEEE TAC 33, 1988, with equal switching between all).
func (b *bank) mix() {
	share := switching / float64(len(b.models))
	for i := range b.models {
		m := &b.models[i]
		stay := (1 - switching) * m.probability()
		if a := stay / (stay + share); a < 0.98 {
			m.blend(a, b.best)
		}
		for k := range m.weight {
			m.weight[k] = (1-switching)*m.weight[k] + share/spans
		}
	}
}

// blend makes the filter the mixture of itself, with weight a, and of best.
func (m *model) blend(a float64, best belief) {
	c, r := 1-a, m.scale[1]
	d0, d1 := best.phase-m.phase, best.freq-m.freq
	m.phase += c * d0
	m.freq += c * d1
	m.p00 = a*m.p00 + c*(best.p00+a*d0*d0)/r
	m.p01 = a*m.p01 + c*(best.p01+a*d0*d1)/r
	m.p11 = a*m.p11 + c*(best.p11+a*d1*d1)/r
	m.repair()
}

// summarise computes mean and spread of the filters that count. The others keep the little weight that
// lets them return; their wander, which may be a million times that of the likely ones, must not
// reach the spread.
func (b *bank) summarise() {
	var total float64
	var s belief
	for i := range b.models {
		m := &b.models[i]
		if p := m.probability(); p > negligible {
			total += p
			s.phase += p * (m.phase - b.best.phase)
			s.freq += p * (m.freq - b.best.freq)
		}
	}
	s.phase, s.freq = b.best.phase+s.phase/total, b.best.freq+s.freq/total
	b.wander = 0
	for i := range b.models {
		m := &b.models[i]
		p := m.probability() / total
		if p <= negligible {
			continue
		}
		r := m.noise()
		d0, d1 := m.phase-s.phase, m.freq-s.freq
		s.p00 += p * (m.p00*r + d0*d0)
		s.p01 += p * (m.p01*r + d0*d1)
		s.p11 += p * (m.p11*r + d1*d1)
		b.wander += p * m.q * r
	}
	s.repair()
	b.best = s
	b.wander = clamp(b.wander, 0, maxVariance)
	b.noise = b.meanNoise()
}

func (b *bank) meanNoise() float64 {
	var sum float64
	for i := range b.models {
		sum += b.models[i].probability() * b.models[i].noise()
	}
	return clamp(sum, minScale, maxScale)
}

// shift subtracts d from every phase.
func (b *bank) shift(d float64) {
	b.best.phase -= d
	for i := range b.models {
		b.models[i].phase -= d
	}
}
