package servo

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

const (
	// priorBiasPPB is one standard deviation of the oscillator's constant before anything is known
	// of it: any crystal's.
	priorBiasPPB = 500_000
	// biasWalk is by how much the constant may wander, in ppb per square root of a second.
	biasWalk = 0.01
	// commandDelay is how uncertain the instant is at which a change of frequency took effect, where a driver does
	// not tell when it wrote, and up to a jiffy in older kernels.
	commandDelay = 2 * time.Millisecond
	// readFloor is the smallest standard deviation, in ns, believed of a reading of the clock.
	readFloor = 1.0
	// readMemory is over how many readings their scatter is learnt, readLeast how many it takes.
	readMemory, readLeast = 16, 8
	// readClip is by how much more than the mean square one reading may say of the scatter.
	readClip = 16
	// ranShare is what share of a reading's variance that of the clock's own movement may be, for the scatter to show.
	ranShare = 1.0 / 2
	// surpriseSDs is how many standard deviations of the prediction, beyond the reading's own
	// window, make an observation a surprise: the clock was moved by somebody else. As many of the innovation make one
	// within its window a stranger: an unusual reading, or a move of the clock that is too small to tell from one.
	surpriseSDs = 6
	// strangers is how many of them in a row that agree show that it is the clock: after a large change of frequency
	// it was seen to run some tens of ppb beside the commanded one for seconds.
	strangers = 3
)

// plant is a Kalman filter for the system clock - L: phase (base + phase, ns) and the rate that the
// commanded frequency does not explain (bias, ppb).
type plant struct {
	at      timescale.Instant
	started bool
	freqPPB float64
	// commanded is when the frequency was last written, some ms after the reading that it answers.
	commanded timescale.Instant
	// base carries the whole nanoseconds: S - L may be decades, more than a float64 holds to the ns.
	base        time.Duration
	phase, bias float64
	// The covariance: ns^2, ns*ppb, ppb^2.
	pp, pb, bb float64
	readings   scatter
	// strange counts the strangers in a row that agree; the first of them came at since, first ns from the state.
	strange int
	since   timescale.Instant
	first   float64
	// left is how far the newest reading is from the state that it was taken into.
	left float64
}

// observe moves the state to the observation and takes it in. freqPPB was in force since the last
// one. It returns what was not explained: 0 unless the clock was moved by somebody else.
func (p *plant) observe(at timescale.Instant, offset, window time.Duration, freqPPB float64) time.Duration {
	variance := p.readings.variance(window)
	if !p.started {
		*p = plant{
			at: at, started: true, freqPPB: freqPPB, commanded: p.commanded, base: offset,
			pp: variance, bb: priorBiasPPB * priorBiasPPB, readings: scatter{before: window},
		}
		return 0
	}
	ran := p.predict(at, freqPPB)
	innovation := float64(offset-p.base) - p.phase
	p.readings.compare(innovation-p.left, window, ran)
	if math.Abs(innovation) > float64(window)+surpriseSDs*math.Sqrt(p.pp+readFloor*readFloor) {
		p.restart(offset, variance, priorBiasPPB*priorBiasPPB)
		return time.Duration(math.Round(innovation))
	}
	if math.Abs(innovation) <= surpriseSDs*math.Sqrt(p.pp+variance) {
		p.strange = 0
		p.correct(innovation, variance)
		return 0
	}
	if math.Abs(innovation-p.left) > surpriseSDs*math.Sqrt(2*variance+ran) {
		p.strange = 0
	}
	if p.strange == 0 {
		p.since, p.first = at, innovation
	}
	p.left = innovation
	if p.strange++; p.strange >= strangers {
		p.restart(offset, variance, p.bb+drifted(innovation-p.first, 2*variance, at.Sub(p.since).Seconds()))
	}
	return 0
}

// drifted is the variance in ppb^2 of a rate that makes moved, in ns over dt seconds, the likeliest where readings
// alone make that much with the given variance: 0 for a clock that jumped and runs on as before.
func drifted(moved, variance, dt float64) float64 {
	if dt <= 0 {
		return 0
	}
	return max(0, moved*moved-variance) / (dt * dt)
}

// predict moves the state to at. It returns the variance in ns^2 of how far the clock ran since the last observation.
func (p *plant) predict(at timescale.Instant, freqPPB float64) (ran float64) {
	dt := at.Sub(p.at).Seconds()
	before := min(max(p.commanded.Sub(p.at).Seconds(), 0), dt)
	p.phase += (freqPPB+p.bias)*dt + (p.freqPPB-freqPPB)*before
	changed := (freqPPB - p.freqPPB) * commandDelay.Seconds()
	ran = p.bb*dt*dt + changed*changed
	p.pp += 2*p.pb*dt + ran
	p.pb += p.bb * dt
	p.bb += biasWalk * biasWalk * dt
	p.at, p.freqPPB = at, freqPPB
	return ran
}

// correct takes in the innovation of an observation.
func (p *plant) correct(innovation, variance float64) {
	s := p.pp + variance
	gainPhase, gainBias := p.pp/s, p.pb/s
	p.phase += gainPhase * innovation
	p.bias += gainBias * innovation
	p.bb -= gainBias * p.pb
	p.pb *= 1 - gainPhase
	p.pp *= 1 - gainPhase
	p.left = (1 - gainPhase) * innovation
}

// restart believes the observation alone. The bias keeps its value and has the variance bb, in ppb^2: a step leaves it
// right, a foreign slew does not, and the next observation tells.
func (p *plant) restart(offset time.Duration, variance, bb float64) {
	p.base, p.phase, p.left, p.strange = offset, 0, 0, 0
	p.pp, p.pb, p.bb = variance, 0, bb
}

// step accounts for a step of the clock.
func (p *plant) step(d time.Duration) { p.base += d }

// errorTo returns target - clock, in ns.
func (p *plant) errorTo(target time.Duration) float64 { return float64(target-p.base) - p.phase }

// doubt is how far the clock may be from the state, in ns: as far as the newest reading says, or as the state is unsure.
func (p *plant) doubt() float64 { return max(math.Abs(p.left), sources.Confidence*math.Sqrt(p.pp)) }

// scatter is how far readings of the clock fall from where it is, measured in what their windows permit. A window is
// the largest error there can be: where reading takes a microsecond, as of an HPET or in a slow virtual machine, the
// errors are a hundredth of it, and who believed the window would take a minute to see what a slew left behind.
//
// It is learnt from one reading to the next, and not from how far they are from the state: a state that is wrong would
// take its own error for theirs, and would heed them the less the longer it lasts.
type scatter struct {
	share  float64 // mean square of the errors over readVariance
	count  int
	before time.Duration // the window of the reading before
}

// compare takes in by how much more the clock moved from the last reading to this one than was predicted, which has
// the variance ran but for the readings' errors.
func (r *scatter) compare(moved float64, window time.Duration, ran float64) {
	both := readVariance(r.before) + readVariance(window)
	r.before = window
	if ran > r.variance(window)*ranShare {
		return
	}
	share := moved * moved / both
	if r.count >= readLeast {
		share = min(share, readClip*max(r.share, readFloor*readFloor/both))
	}
	r.count = min(r.count+1, readMemory)
	r.share += (share - r.share) / float64(r.count)
}

// variance is that of one reading, in ns^2, at most its window's.
func (r *scatter) variance(window time.Duration) float64 {
	v := readVariance(window)
	if r.count >= readLeast {
		v = min(v, max(r.share*v, readFloor*readFloor))
	}
	return v
}

// readVariance is the variance in ns^2 of an error that is uniform over the window.
func readVariance(window time.Duration) float64 {
	w := float64(window)
	return w*w/3 + readFloor*readFloor
}
