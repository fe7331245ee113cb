package sources

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
)

// Confidence is the number of standard deviations of random error that a bound covers. Delay noise
// has heavier tails than a Gaussian, of which three would cover 99.7 %.
const Confidence = 4

// maxBound is the largest bound, about 36 years: sums and differences of offsets and bounds stay
// within an int64.
const maxBound = time.Duration(1) << 60

// Estimate is what is known of one source at one instant.
type Estimate struct {
	// At is the instant on L for which everything below holds.
	At timescale.Instant
	// Offset is source UTC - L at At. Positive: L is slow.
	Offset time.Duration
	// FreqPPB is the rate of change of Offset, in nanoseconds per second of L. Positive: L runs
	// slow against the source.
	FreqPPB float64
	// WanderPPB is the learnt random walk of FreqPPB, in parts per billion per square root of a
	// second: what FreqSDPPB grows by.
	WanderPPB float64
	// LastingWanderPPB is the same over the last thousand samples: what Bound grows by where it is
	// larger, because a promise for hours must not rest on a quiet minute. 0: not known.
	LastingWanderPPB float64
	// OffsetSD and FreqSDPPB are one standard deviation of the random error of the two.
	OffsetSD  time.Duration
	FreqSDPPB float64
	// Jitter is the standard deviation of single samples about the fit.
	Jitter time.Duration
	// Bound is the half-width of the error interval: true UTC - L lies within Offset +- Bound,
	// as far as the source itself tells the truth about its root distance.
	Bound time.Duration
	// Terms are the parts of Bound.
	Terms Terms
	// Track counts the tracks of this source from 1: it changes when the estimate was started
	// again, because the samples jumped against L or because it was reset.
	Track uint32
	// Suspects counts the newest samples that contradict the estimate and are held back.
	Suspects int
	// Samples counts the samples behind the estimate, which is those of its track; LastSample is the instant of the newest.
	Samples    int
	LastSample timescale.Instant
}

// Project returns the estimate for another instant, with offset, uncertainty and bound carried
// along, and nothing else known than e itself. The errors of phase and frequency are taken as fully
// correlated, the worst case, because an Estimate does not carry their covariance.
func (e Estimate) Project(at timescale.Instant) Estimate {
	dt := secondsBetween(e.At, at)
	age := math.Abs(dt)
	p := e
	p.At = at
	p.Offset = addFloat(e.Offset, e.FreqPPB*dt)
	p.FreqSDPPB = math.Sqrt(e.FreqSDPPB*e.FreqSDPPB + e.WanderPPB*e.WanderPPB*age)
	linear := float64(e.OffsetSD) + e.FreqSDPPB*age
	p.OffsetSD = duration(math.Sqrt(linear*linear + wanderVariance(e.WanderPPB, age)))
	promised := duration(math.Sqrt(linear*linear + wanderVariance(max(e.WanderPPB, e.LastingWanderPPB), age)))
	p.Terms.Growth = min(e.Terms.Growth+Confidence*max(0, min(promised, maxBound/Confidence)-e.OffsetSD), maxBound)
	p.Bound = min(e.Bound+max(0, p.Terms.Growth-e.Terms.Growth), maxBound)
	return p
}

// wanderVariance is the variance in ns^2 of the phase after age seconds of a random walk of the
// frequency: w^2 t^3 / 3.
func wanderVariance(wanderPPB, age float64) float64 {
	return wanderPPB * wanderPPB * age * age * age / 3
}

// secondsBetween returns to - from in seconds; the difference of any two instants fits a float64.
func secondsBetween(from, to timescale.Instant) float64 {
	if (from < 0) == (to < 0) {
		return float64(to-from) * 1e-9
	}
	return (float64(to) - float64(from)) * 1e-9
}

// duration returns ns as a Duration within +-maxBound. NaN, which no caller produces, is maxBound:
// the honest answer to an unknown error.
func duration(ns float64) time.Duration {
	switch {
	case ns <= -float64(maxBound):
		return -maxBound
	case ns < float64(maxBound):
		return time.Duration(math.Round(ns))
	}
	return maxBound
}

// addFloat returns d + ns without passing through a float64, which could not hold an offset of
// decades to the nanosecond.
func addFloat(d time.Duration, ns float64) time.Duration {
	add := duration(ns)
	switch sum := d + add; {
	case add > 0 && sum < d:
		return math.MaxInt64
	case add < 0 && sum > d:
		return math.MinInt64
	default:
		return sum
	}
}
