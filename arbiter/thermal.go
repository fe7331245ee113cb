package arbiter

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Temperature is what a sensor near the oscillator says.
type Temperature struct {
	Celsius float64
	// Age is how old the reading is.
	Age time.Duration
}

// Thermal is what is known of the oscillator's temperature and ageing, and what holdover makes of it.
type Thermal struct {
	// Celsius is the smoothed temperature.
	Celsius float64
	// PPBPerKelvin and AgeingPPBPerDay are the learnt coefficients of the rate of UTC against L, each with
	// one standard deviation.
	PPBPerKelvin, PPBPerKelvinSD       float64
	AgeingPPBPerDay, AgeingPPBPerDaySD float64
	// Proven is set while the coefficient has predicted the rate clearly better than no change would have:
	// holdover follows it then.
	Proven bool
	// RatePPB and Shift are the change of the rate and of the target that holdover makes of them now.
	RatePPB float64
	Shift   time.Duration
}

const (
	// learnEvery is the time between two observations of the rate: longer than a tracker of PTP remembers, and
	// long enough for the temperature to move by more than a sensor's resolution.
	learnEvery = 5 * time.Minute
	// learnableSD is the uncertainty in ppb above which a rate says nothing of a degree.
	learnableSD = 100.0
	// maxPPBPerKelvin and maxPPBPerDay bound what is believed: an uncompensated crystal has about 1 ppm per
	// degree far from its turning point, and ages by some ppm in a year.
	maxPPBPerKelvin, maxPPBPerDay = 1000.0, 100.0
	// sensorAge is the oldest reading that is used, sensorMemory smooths readings.
	sensorAge, sensorMemory = 30 * time.Second, 15 * time.Second
	// coldest and hottest are what a sensor in a working host can say, in degrees Celsius.
	coldest, hottest = -40.0, 125.0
	// leap of a sensor by more than jumpKelvin in one reading is no temperature of a crystal: it is not
	// used for jumpPause.
	jumpKelvin, jumpPause = 5.0, 10 * time.Minute
	// rangeMargin is how far beyond the temperatures seen while learning a coefficient is followed, kelvin.
	rangeMargin = 2.0
	// proofWindow is over how long a prediction is judged, proofLeast how many there must be, proofRatio
	// what its mean square error must be below, of that of no change.
	proofWindow, proofLeast, proofRatio = 10 * time.Minute, 4, 0.25
	// proofMemory is over how many windows the judgement forgets.
	proofMemory = 12
	// significant is by how many standard deviations a coefficient must differ from nothing.
	significant = 3.0
	// correlated is by what factor the variance of successive rates is larger than each says.
	correlated    = 4.0
	secondsPerDay = 86400.0
)

// thermal learns how the oscillator's rate depends on temperature and time while the clock is locked, and
// predicts its change in holdover. Without a sensor it does nothing.
type thermal struct {
	sensed   sources.Optional[float64] // smoothed, degrees Celsius
	sensedAt timescale.Instant
	raw      float64 // the last reading
	distrust timescale.Instant

	model rateModel
	proof proof

	// held is where holdover begins, celsius the temperature that it goes by, phase and rate what it has made
	// of both up to at, in ns and ppb.
	held                          sources.Optional[holdPoint]
	at                            timescale.Instant
	celsius, phase, rate, unknown float64
}

// holdPoint is where a prediction starts.
type holdPoint struct {
	at      timescale.Instant
	celsius float64
}

// sense takes the newest reading and reports whether there is a temperature to go by.
func (t *thermal) sense(now timescale.Instant, reading sources.Optional[Temperature]) bool {
	r, ok := reading.Get()
	if !ok || !(r.Celsius >= coldest && r.Celsius <= hottest) || r.Age > sensorAge || r.Age < 0 {
		return false
	}
	before, known := t.sensed.Get()
	gap := age(now, t.sensedAt)
	if known && math.Abs(r.Celsius-t.raw) > jumpKelvin && gap < sensorAge {
		t.distrust = now.Add(jumpPause)
	}
	t.raw, t.sensedAt = r.Celsius, now
	if !known || gap > 10*sensorAge {
		before = r.Celsius
	}
	keep := math.Exp(-gap.Seconds() / sensorMemory.Seconds())
	t.sensed = sources.Some(r.Celsius + keep*(before-r.Celsius))
	return !now.Before(t.distrust)
}

// feel follows temperature and rate while a source is followed; learn is set while the clock is locked and
// nothing speaks against the source.
func (t *thermal) feel(now timescale.Instant, reading sources.Optional[Temperature], learn bool, e sources.Estimate) {
	usable := t.sense(now, reading)
	t.at, t.held, t.phase, t.rate, t.unknown = now, sources.None[holdPoint](), 0, 0, 0
	celsius, known := t.sensed.Get()
	if !known {
		return
	}
	t.held, t.celsius = sources.Some(holdPoint{at: now, celsius: celsius}), celsius
	if !learn || !usable || !(e.FreqSDPPB < learnableSD) || t.model.known && age(now, t.model.at) < learnEvery {
		return
	}
	t.model.learn(now, celsius, e)
	t.proof.judge(now, celsius, e.FreqPPB, t.model.coefficient)
}

// predict returns by how much the held target is shifted at now, in ns, and its rate, in ppb. Without a
// fresh reading the temperature is taken to be what it last was, and unknown is what it may have done since, in
// ns, where it is proven that it matters.
func (t *thermal) predict(now timescale.Instant, reading sources.Optional[Temperature]) (phase, rate, unknown float64) {
	usable := t.sense(now, reading)
	start, ok := t.held.Get()
	if !ok {
		return 0, 0, 0
	}
	if celsius, known := t.sensed.Get(); known && usable {
		t.celsius = celsius
	}
	was := t.rate
	t.rate = t.model.change(start, now, t.celsius, t.proof.proven())
	if dt := subtract(time.Duration(now), time.Duration(t.at)).Seconds(); dt > 0 {
		t.phase += (was + t.rate) / 2 * dt
		if !usable && t.proof.proven() {
			t.unknown += math.Abs(t.model.coefficient) * (t.model.most - t.model.least) * dt
		}
	}
	t.at = now
	return t.phase, t.rate, t.unknown
}

// report is what a decision says of it, absent without a sensor.
func (t *thermal) report(holding bool) sources.Optional[Thermal] {
	celsius, ok := t.sensed.Get()
	if !ok {
		return sources.None[Thermal]()
	}
	m := &t.model
	out := Thermal{Celsius: celsius, Proven: t.proof.proven()}
	if m.known {
		out.PPBPerKelvin, out.PPBPerKelvinSD = m.coefficient, m.sd(1)
		out.AgeingPPBPerDay, out.AgeingPPBPerDaySD = m.ageing, m.sd(2)
	}
	if holding {
		out.RatePPB, out.Shift = t.rate, nanoseconds(t.phase)
	}
	return sources.Some(out)
}

// rateModel is a Kalman filter of the rate of UTC against L at a reference temperature, which wanders, its
// change per kelvin and its change per day.
type rateModel struct {
	known     bool
	at        timescale.Instant
	reference float64 // degrees Celsius
	base      float64 // ppb
	// coefficient is in ppb per kelvin, ageing in ppb per day.
	coefficient, ageing float64
	cov                 [3][3]float64
	// scale is by how much the innovations are larger, in variance, than was expected of them.
	scale float64
	// least and most are the temperatures that were seen.
	least, most float64
}

const (
	// The standard deviations of what is known before anything is: half of what is believed at most.
	priorPPBPerKelvin, priorPPBPerDay = maxPPBPerKelvin / 2, maxPPBPerDay / 10
	// The random walks of the coefficients, per square root of a day: a crystal's curve bends, and its
	// ageing slows down.
	walkPPBPerKelvin, walkPPBPerDay = 5.0, 0.5
	// thermalScaleMemory is the number of observations over which the scale is averaged.
	thermalScaleMemory = 60
	// surprised is the number of standard deviations at which an innovation is a jump of the oscillator.
	surprised = 10.0
)

// learn takes in the rate at a temperature.
func (m *rateModel) learn(now timescale.Instant, celsius float64, e sources.Estimate) {
	variance := max(e.FreqSDPPB*e.FreqSDPPB*correlated, 1e-6)
	if !m.known {
		m.begin(now, celsius, e.FreqPPB, variance)
		return
	}
	m.least, m.most = min(m.least, celsius), max(m.most, celsius)
	m.advance(age(now, m.at).Seconds(), max(e.WanderPPB, 1e-3))
	m.at = now
	x := celsius - m.reference
	nu := e.FreqPPB - m.base - m.coefficient*x
	s := m.cov[0][0] + 2*x*m.cov[0][1] + x*x*m.cov[1][1] + variance
	ratio := nu * nu / s
	if ratio > surprised*surprised*m.scale {
		m.lift(e.FreqPPB-m.coefficient*x, variance)
		return
	}
	m.scale = max(0.01, min(1e4, m.scale+(min(ratio, 16*m.scale)-m.scale)/thermalScaleMemory))
	m.correct(x, nu, s)
}

// begin starts at a rate; coefficients that were inherited are kept.
func (m *rateModel) begin(now timescale.Instant, celsius, rate, variance float64) {
	if m.cov[1][1] == 0 {
		m.cov[1][1], m.cov[2][2] = priorPPBPerKelvin*priorPPBPerKelvin, priorPPBPerDay*priorPPBPerDay
	}
	m.known, m.at, m.reference, m.base, m.scale = true, now, celsius, rate, 1
	if m.least == m.most {
		m.least, m.most = celsius, celsius
	}
	m.least, m.most = min(m.least, celsius), max(m.most, celsius)
	m.cov[0][0] = variance
}

// lift puts the rate where it is now, after the oscillator jumped, and keeps the coefficients.
func (m *rateModel) lift(base, variance float64) {
	m.base = base
	m.cov[0] = [3]float64{variance, 0, 0}
	m.cov[1][0], m.cov[2][0] = 0, 0
}

func (m *rateModel) advance(seconds, wander float64) {
	days := seconds / secondsPerDay
	m.base += m.ageing * days
	// P = F P F' + Q with F adding days x ageing to the base.
	for j := range 3 {
		m.cov[0][j] += days * m.cov[2][j]
	}
	for i := range 3 {
		m.cov[i][0] += days * m.cov[i][2]
	}
	m.cov[0][0] += wander * wander * seconds
	m.cov[1][1] = min(m.cov[1][1]+walkPPBPerKelvin*walkPPBPerKelvin*days, maxPPBPerKelvin*maxPPBPerKelvin)
	m.cov[2][2] = min(m.cov[2][2]+walkPPBPerDay*walkPPBPerDay*days, maxPPBPerDay*maxPPBPerDay)
}

func (m *rateModel) correct(x, nu, s float64) {
	var gain, row [3]float64
	for i := range 3 {
		row[i] = m.cov[i][0] + x*m.cov[i][1]
		gain[i] = row[i] / s
	}
	m.base += gain[0] * nu
	m.coefficient = max(-maxPPBPerKelvin, min(maxPPBPerKelvin, m.coefficient+gain[1]*nu))
	m.ageing = max(-maxPPBPerDay, min(maxPPBPerDay, m.ageing+gain[2]*nu))
	for i := range 3 {
		for j := range 3 {
			m.cov[i][j] -= gain[i] * row[j]
		}
		m.cov[i][i] = max(m.cov[i][i], 1e-9)
	}
}

// sd is one standard deviation of state i: 1 is the coefficient, 2 the ageing.
func (m *rateModel) sd(i int) float64 { return math.Sqrt(m.cov[i][i] * max(m.scale, 1)) }

// change is what the coefficients make of the rate since start: that of the temperature where it is proven,
// each where it is significant.
func (m *rateModel) change(start holdPoint, now timescale.Instant, celsius float64, proven bool) float64 {
	if !m.known {
		return 0
	}
	var ppb float64
	if proven && math.Abs(m.coefficient) > significant*m.sd(1) {
		inside := max(m.least-rangeMargin, min(m.most+rangeMargin, celsius))
		ppb += m.coefficient * (inside - start.celsius)
	}
	if math.Abs(m.ageing) > significant*m.sd(2) {
		ppb += m.ageing * age(now, start.at).Seconds() / secondsPerDay
	}
	return ppb
}

// proof compares what the coefficient would have predicted with what no change would have.
type proof struct {
	start       holdPoint
	rate        float64 // at start
	coefficient float64
	windows     int
	// with and without are the mean square errors in ppb^2.
	with, without float64
}

// judge ends a window where it is long enough and begins the next.
func (p *proof) judge(now timescale.Instant, celsius, rate, coefficient float64) {
	if p.start.at != 0 {
		gap := age(now, p.start.at)
		if gap < proofWindow {
			return
		}
		if gap < 2*proofWindow {
			p.windows++
			changed := rate - p.rate
			left := changed - p.coefficient*(celsius-p.start.celsius)
			share := 1 / float64(min(p.windows, proofMemory))
			p.without += share * (changed*changed - p.without)
			p.with += share * (left*left - p.with)
		}
	}
	p.start, p.rate, p.coefficient = holdPoint{at: now, celsius: celsius}, rate, coefficient
}

func (p *proof) proven() bool { return p.windows >= proofLeast && p.with < proofRatio*p.without }
