package sources

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/clock/timescale"
)

// TrackerConfig is what is configured of one source's estimate. Noise is learnt.
type TrackerConfig struct {
	Source ID
	Kind   Kind
	// Floor is the smallest error bound ever reported; 0: none.
	Floor time.Duration
	// AsymmetryShare is the part of the path's minimum round-trip delay that enters the bound: 0.5,
	// the default for 0, is all that a constant asymmetry can hide. A smaller share is a promise
	// about the path that nobody can measure from this end: for PTP it is honest where every
	// node is a boundary or transparent clock, never for software timestamps.
	AsymmetryShare float64
	// MaxFrequencyPPM is the largest frequency error of L that is believed; default 500.
	MaxFrequencyPPM float64
	// Rate is what is known of the frequency before the first sample, from other sources or from an
	// earlier run. It starts the first track only: a source that jumped has refuted it.
	Rate Optional[Rate]
}

// Rate is a frequency of UTC against L with its uncertainty.
type Rate struct {
	// FreqPPB is as Estimate.FreqPPB, SDPPB one standard deviation of it.
	FreqPPB, SDPPB float64
}

// Tracker follows one source: samples go in, an estimate with an error bound comes out. It is a
// value machine, not safe for concurrent use, and the same samples always give the same estimates.
type Tracker struct {
	cfg     TrackerConfig
	started bool
	base    time.Duration // offset that the filter's phase is relative to
	fit     fit
	noise   noise
	delay   minimum
	usual   float64 // mean delay above the minimum, ns
	// usualWander is the mean of what the fit takes the wander to be.
	usualWander wanderAverage
	resolution  minimum
	newest      Sample
	guessed     float64                     // of the spread when the fit began, a variance in ns^2
	heard       Optional[timescale.Instant] // newest sample looked at, held ones included
	now         Optional[timescale.Instant]
	held        suspects
	certain     certain
	track       uint32
	samples     int
}

const (
	// futureTolerance allows for what an adapter's mapping to L may be off.
	futureTolerance = 100 * time.Millisecond
	// maxOffset is the largest believable offset, some 73 years: a host that starts in 1970 is
	// within it.
	maxOffset = time.Duration(1) << 61
	// maxDelay is the largest believable delay or dispersion; RFC 5905's MAXDISP is 16 s.
	maxDelay = time.Minute
)

// NewTracker returns a tracker without an estimate.
func NewTracker(cfg TrackerConfig) *Tracker {
	if !(cfg.AsymmetryShare > 0 && cfg.AsymmetryShare <= 0.5) {
		cfg.AsymmetryShare = 0.5
	}
	if !(cfg.MaxFrequencyPPM > 0 && cfg.MaxFrequencyPPM <= 1e5) {
		cfg.MaxFrequencyPPM = 500
	}
	return &Tracker{cfg: cfg, track: 1}
}

// Observe tells the present instant, so that samples from the future can be refused.
func (t *Tracker) Observe(now timescale.Instant) { t.now = Some(now) }

// Reset forgets the estimate and all that was learnt, as after the grandmaster or the address
// behind the source has changed. What the source last said of itself is kept.
func (t *Tracker) Reset() {
	t.started, t.samples = false, 0
	t.noise, t.delay, t.resolution, t.held = noise{}, minimum{}, minimum{}, suspects{}
	t.track++
}

// Quality returns what the source last said of itself with a sample that entered.
func (t *Tracker) Quality() Quality { return t.newest.Quality }

// Add takes a sample and returns what became of it. Samples of one source must come in the order of
// their instants; a sample that does not is refused, and never repairs an estimate in retrospect.
func (t *Tracker) Add(s Sample) Verdict {
	if v, refused := t.refuse(s); refused {
		return v
	}
	t.heard = Some(s.At)
	if !t.started {
		t.start(s, t.ratePrior())
		return Verdict{Outcome: Accepted}
	}
	return t.judge(s)
}

// refuse names the samples that cannot be measurements of this source at this time.
func (t *Tracker) refuse(s Sample) (Verdict, bool) {
	delay := s.Delay.Or(0)
	now, bounded := t.now.Get()
	heard, before := t.heard.Get()
	switch {
	case s.Source != "" && t.cfg.Source != "" && s.Source != t.cfg.Source:
		return Verdict{Absurd, fmt.Sprintf("sample of %s given to %s", s.Source, t.cfg.Source)}, true
	case s.Offset > maxOffset || s.Offset < -maxOffset:
		return Verdict{Absurd, fmt.Sprintf("offset %v", s.Offset)}, true
	case delay < 0 || delay > maxDelay:
		return Verdict{Absurd, fmt.Sprintf("delay %v", delay)}, true
	case s.Dispersion < 0 || s.Dispersion > maxDelay:
		return Verdict{Absurd, fmt.Sprintf("dispersion %v", s.Dispersion)}, true
	case bounded && s.At > now && secondsBetween(now, s.At) > futureTolerance.Seconds():
		return Verdict{Future, fmt.Sprintf("%.3f s in the future", secondsBetween(now, s.At))}, true
	case before && s.At == heard:
		return Verdict{Duplicate, "the instant of the newest sample again"}, true
	case before && s.At < heard:
		return Verdict{Backwards, fmt.Sprintf("%.3f s older than the newest sample", secondsBetween(s.At, heard))}, true
	}
	return Verdict{}, false
}

// start begins an estimate at s, with what is known of the frequency.
func (t *Tracker) start(s Sample, known Rate) {
	t.noise = newNoise(t.priorSpread(s))
	t.learnPath(s)
	t.base = s.Offset
	t.usual, t.usualWander = 0, wanderAverage{}
	t.fit = newFit(s.Delay.Present(), t.readingVariance(s), known)
	t.started, t.samples, t.newest, t.guessed = true, 1, s, t.noise.variance
	t.certain = newCertain(known)
	t.ascertain(s)
}

// ascertain keeps what a sample says for certain: nothing where its delay was not measured with it.
func (t *Tracker) ascertain(s Sample) {
	delay, ok := s.Delay.Get()
	if !ok || t.cfg.Kind != NTP {
		t.certain = certain{done: true}
		return
	}
	t.certain.add(certainReading{at: s.At, offset: s.Offset, half: float64(delay)*t.cfg.AsymmetryShare + float64(s.Dispersion)})
}

// priorSpread guesses the spread of a source of which one sample is known: a tenth of the delay over
// a network, a third of the reading's own half-width without one. It is forgotten in a few samples.
func (t *Tracker) priorSpread(s Sample) float64 {
	const least = 50 // ns, a good PHC
	return max(least, float64(s.Delay.Or(0))/10, float64(s.Dispersion)/3)
}

// ratePrior is what a track starts with: what was known before the first one, else the largest
// believable frequency error as two standard deviations.
func (t *Tracker) ratePrior() Rate {
	anything := Rate{SDPPB: t.cfg.MaxFrequencyPPM * 1000 / 2}
	known, ok := t.cfg.Rate.Get()
	if !ok || t.track > 1 || !(known.SDPPB > 0 && known.SDPPB < anything.SDPPB) || !(math.Abs(known.FreqPPB) <= 2*anything.SDPPB) {
		return anything
	}
	return known
}

// learnPath updates the smallest delay and the best reading seen.
func (t *Tracker) learnPath(s Sample) {
	if d, ok := s.Delay.Get(); ok {
		t.delay.add(d)
		t.usual += (float64(t.delay.excess(d)) - t.usual) / float64(min(t.delay.count, memory))
	}
	t.resolution.add(s.Dispersion)
}

// readingVariance is the variance of one reading in ns^2: the learnt spread, widened by the delay
// above the path's minimum, half of which may be an error of the offset, and by a dispersion
// above the usual, a half-width of a uniform error.
func (t *Tracker) readingVariance(s Sample) float64 {
	queueing := float64(t.delay.excess(s.Delay.Or(0))) / 2
	resolution := float64(t.resolution.excess(s.Dispersion))
	return t.noise.variance + queueing*queueing + resolution*resolution/3
}

// judge predicts the sample and takes it when it is near enough.
func (t *Tracker) judge(s Sample) Verdict {
	dt := secondsBetween(t.newest.At, s.At)
	predicted := t.fit.best.after(dt, t.fit.wander())
	sharper := t.sharper(s)
	t.learnPath(s)
	spread := predicted.p00 + t.readingVariance(s)
	r := t.reading(s, dt)
	innovation := r.phase - predicted.phase
	t.noise.learn(innovation, spread, dt)
	if math.Abs(innovation) > gateSD*math.Sqrt(spread) {
		t.fit.teach(r)
		return t.hold(s, innovation, math.Sqrt(spread))
	}
	if sharper {
		t.sharpen(s, predicted)
		return Verdict{Outcome: Accepted}
	}
	t.take(s, r)
	if !t.plausible() {
		t.restart([]Sample{s})
		return Verdict{Restarted, "frequency beyond belief"}
	}
	return Verdict{Outcome: Accepted}
}

const (
	// firstSamples are those that may be far worse than what is to come: a source that has just begun to measure may
	// not know the rate of its own clock yet.
	firstSamples = 8
	// sharperBy is how much smaller a dispersion has to be.
	sharperBy = 4
)

// sharper reports whether a sample says of itself that it is far better than all before, of which there are few, and
// the spread is still no more than was guessed of the first.
func (t *Tracker) sharper(s Sample) bool {
	least, ok := t.resolution.value()
	return ok && t.samples < firstSamples && s.Dispersion*sharperBy < least && t.noise.variance <= t.guessed
}

// sharpen begins anew with a sample that is sharper than those before. Of them nothing is kept but the frequency:
// what was guessed of their spread would be taken for that of what comes.
func (t *Tracker) sharpen(s Sample, known belief) {
	samples := t.samples
	t.delay, t.resolution, t.held = minimum{}, minimum{}, suspects{}
	t.start(s, Rate{FreqPPB: known.freq, SDPPB: math.Sqrt(known.p11)})
	t.samples = samples + 1
}

// reading is the sample as the filters see it, dt seconds after the newest.
func (t *Tracker) reading(s Sample, dt float64) reading {
	r := reading{dt: dt, phase: subtract(s.Offset, t.base)}
	resolution := float64(t.resolution.excess(s.Dispersion))
	r.extra = resolution * resolution / 3
	if t.usual > 0 {
		r.excess = min(float64(t.delay.excess(s.Delay.Or(0)))/t.usual, maxExcess)
	}
	return r
}

// maxExcess is the delay above the minimum, in units of the usual, beyond which a reading says
// nothing more anyhow.
const maxExcess = 1e3

// take enters the reading of a believed sample.
func (t *Tracker) take(s Sample, r reading) {
	t.fit.add(r)
	t.usualWander.add(t.fit.wander())
	t.rebase()
	t.samples++
	t.newest = s
	t.held = suspects{}
	t.ascertain(s)
}

// rebase keeps the phases small, so that they hold nanoseconds whatever the offset.
func (t *Tracker) rebase() {
	whole := duration(t.fit.best.phase)
	t.base = addFloat(t.base, float64(whole))
	t.fit.shift(float64(whole))
}

// plausible reports whether the state is finite and the frequency within what a source and an
// oscillator can differ by; beyond twice the configured limit the samples are no track.
func (t *Tracker) plausible() bool {
	b := t.fit.best
	limit := 2*t.cfg.MaxFrequencyPPM*1000 + gateSD*math.Sqrt(b.p11)
	return math.Abs(b.freq) <= limit && !math.IsNaN(b.phase)
}

// hold keeps an outlier as evidence, and starts again when there is enough of it.
func (t *Tracker) hold(s Sample, innovation, sd float64) Verdict {
	t.held.add(s)
	if !t.held.convince(t.noise.variance) {
		return Verdict{Outlier, fmt.Sprintf("%v from the prediction, %.1f times its spread of %v",
			duration(innovation), math.Abs(innovation)/sd, duration(sd))}
	}
	reason := fmt.Sprintf("%d samples in a row contradict the estimate, the last by %v", t.held.count, duration(innovation))
	t.restart(t.held.newest())
	return Verdict{Restarted, reason}
}

// restart begins a new track with the samples that contradicted the old one. The spread is at least
// theirs, which may be what has changed, and at least the old one: a run of equal readings shows none.
func (t *Tracker) restart(evidence []Sample) {
	spread := max(scatter(evidence), math.Sqrt(t.noise.variance))
	t.track++
	t.held = suspects{}
	t.delay, t.resolution = minimum{}, minimum{}
	for i, s := range evidence {
		if i == 0 {
			t.start(s, t.ratePrior())
			t.noise.variance = max(t.noise.variance, spread*spread)
			continue
		}
		t.learnPath(s)
		t.take(s, t.reading(s, secondsBetween(t.newest.At, s.At)))
	}
}

// Estimate returns what is known of the source, projected to at, and whether anything is.
func (t *Tracker) Estimate(at timescale.Instant) (Estimate, bool) {
	if !t.started {
		return Estimate{}, false
	}
	dt := secondsBetween(t.newest.At, at)
	wander := t.fit.wander()
	lasting := max(wander, t.usualWander.square)
	b := t.fit.best.after(dt, wander)
	e := Estimate{
		At:               at,
		Offset:           addFloat(t.base, b.phase),
		FreqPPB:          b.freq,
		WanderPPB:        math.Sqrt(wander),
		LastingWanderPPB: math.Sqrt(lasting),
		OffsetSD:         duration(math.Sqrt(b.p00)),
		FreqSDPPB:        math.Max(math.Sqrt(b.p11), t.certain.frequencyBound(b.freq)/Confidence),
		Jitter:           duration(math.Sqrt(t.noise.variance)),
		Track:            t.track,
		Suspects:         t.held.count,
		Samples:          t.samples,
		LastSample:       t.newest.At,
	}
	e.Terms = t.terms(math.Sqrt(t.fit.best.p00), math.Sqrt(t.fit.best.after(dt, lasting).p00)).
		covering(t.certain.bound(at, e.Offset, e.FreqPPB)).withFloor(t.cfg.Floor)
	e.Bound = e.Terms.Sum()
	return e, true
}

// terms lists the parts of the bound; sd and sdNow are the random error at the newest sample and at
// the instant asked for, in ns.
func (t *Tracker) terms(sd, sdNow float64) Terms {
	q := t.newest.Quality
	spread := duration(Confidence * sd)
	path, _ := t.delay.value()
	return Terms{
		RootDelay:      limited(q.RootDelay.Or(0)) / 2,
		RootDispersion: limited(q.RootDispersion.Or(0)),
		ClockAccuracy:  limited(q.ClockAccuracy.Or(0)),
		PathAsymmetry:  duration(float64(path) * t.cfg.AsymmetryShare),
		Reading:        t.newest.Dispersion,
		Spread:         spread,
		Growth:         max(0, duration(Confidence*sdNow)-spread),
	}
}

// limited makes a half-width of what a source advertises: a negative one is no promise at all.
func limited(d time.Duration) time.Duration {
	if d < 0 {
		return maxBound
	}
	return min(d, maxBound)
}

// subtract returns a - b in ns; both are within maxOffset.
func subtract(a, b time.Duration) float64 {
	if (a < 0) == (b < 0) {
		return float64(a - b)
	}
	return float64(a) - float64(b)
}
