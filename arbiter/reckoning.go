package arbiter

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// reckoning is where UTC is on L as far as the oscillator remembers: a Kalman filter of phase and
// frequency. While a clearly best source is followed it is that source's estimate. Otherwise every
// sample of every trusted source enters, each less its learnt bias: one oscillator is seen by all of
// them, so what is known of its frequency outlives whoever taught it.
type reckoning struct {
	known bool
	at    timescale.Instant
	base  time.Duration
	// phase is UTC - L less base in ns, freq its rate in ppb.
	phase, freq float64
	pp, pf, ff  float64 // covariance: ns^2, ns*ppb, ppb^2
	wander      float64 // ppb per square root of a second
	lasting     float64 // the same over hours, 0 where it is not known
	// taught is set when wander was learnt from a clearly best source, which sees it best.
	taught bool
	// refused counts the samples in a row that were too far away to enter.
	refused int
}

const (
	// gateSD is how far from the prediction, in standard deviations, a sample may be to enter.
	gateSD = 6
	// maxRate and maxPhaseVariance bound what is believed of any oscillator: a tenth of a per cent,
	// and a second.
	maxRate, maxPhaseVariance = 1e6, 1e18
)

// adopt makes the estimate of one source the reckoning.
func (k *reckoning) adopt(e sources.Estimate, teaches bool) {
	wander := max(0, min(e.WanderPPB, maxRate))
	lasting := e.LastingWanderPPB
	if k.taught && !teaches {
		wander, lasting = k.wander, k.lasting
	}
	sd := float64(e.OffsetSD)
	*k = reckoning{
		known: true, at: e.At, base: e.Offset, freq: max(-maxRate, min(maxRate, e.FreqPPB)), wander: wander, lasting: lasting, taught: teaches || k.taught,
		pp: min(max(sd*sd, 1), maxPhaseVariance), ff: min(e.FreqSDPPB*e.FreqSDPPB, maxRate*maxRate),
	}
}

// advance moves the reckoning to an instant.
func (k *reckoning) advance(to timescale.Instant) {
	dt := subtract(time.Duration(to), time.Duration(k.at)).Seconds()
	if !k.known || dt <= 0 {
		return
	}
	q := k.wander * k.wander
	k.phase += k.freq * dt
	k.pp = min(k.pp+2*dt*k.pf+dt*dt*k.ff+q*dt*dt*dt/3, maxPhaseVariance)
	k.pf += dt*k.ff + q*dt*dt/2
	k.ff = min(k.ff+q*dt, maxRate*maxRate)
	k.limitCorrelation()
	k.at = to
	k.rebase()
}

// limitCorrelation keeps the covariance one, where a variance was capped.
func (k *reckoning) limitCorrelation() {
	limit := math.Sqrt(k.pp) * math.Sqrt(k.ff)
	k.pf = max(-limit, min(limit, k.pf))
}

// offsetAt returns UTC - L at an instant that is not far from the reckoning's own.
func (k *reckoning) offsetAt(at timescale.Instant) time.Duration {
	dt := subtract(time.Duration(at), time.Duration(k.at)).Seconds()
	return subtract(k.base, -nanoseconds(k.phase+k.freq*dt))
}

// sd is one standard deviation of the phase, ns.
func (k *reckoning) sd() float64 { return math.Sqrt(k.pp) }

// correct takes in a difference between a source and the reckoning, both at one instant near its own.
func (k *reckoning) correct(difference, variance float64) {
	s := k.pp + variance
	gain, rate := k.pp/s, k.pf/s
	k.phase += gain * difference
	k.freq = max(-maxRate, min(maxRate, k.freq+rate*difference))
	k.ff = max(k.ff-rate*k.pf, 1e-9)
	k.pf *= 1 - gain
	k.pp = max(k.pp*(1-gain), 1)
	k.limitCorrelation()
	k.rebase()
}

// shift moves the reckoning: whoever taught it was wrong by as much.
func (k *reckoning) shift(by, sd float64) {
	k.phase += by
	k.pp = min(k.pp+sd*sd, maxPhaseVariance)
	k.rebase()
}

// rebase keeps the phase small, so that a float64 holds it to a fraction of a nanosecond.
func (k *reckoning) rebase() {
	whole := nanoseconds(k.phase)
	k.base = subtract(k.base, -whole)
	k.phase -= float64(whole)
}

// estimate returns the reckoning as an estimate, with the identity of the samples behind like.
func (k *reckoning) estimate(like sources.Estimate) sources.Estimate {
	e := like
	e.At, e.Offset, e.FreqPPB = k.at, k.offsetAt(k.at), k.freq
	e.WanderPPB, e.LastingWanderPPB = k.wander, k.lasting
	e.OffsetSD, e.FreqSDPPB = nanoseconds(k.sd()), math.Sqrt(k.ff)
	return e
}

// nanoseconds returns ns as a duration within +-maxMagnitude; what is not a number is 0.
func nanoseconds(ns float64) time.Duration {
	switch {
	case math.IsNaN(ns):
		return 0
	case ns >= float64(maxMagnitude):
		return maxMagnitude
	case ns <= -float64(maxMagnitude):
		return -maxMagnitude
	}
	return time.Duration(math.Round(ns))
}
