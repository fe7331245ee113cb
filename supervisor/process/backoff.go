package process

import "time"

// Backoff is the rule for how long to wait before a child is started again. It is a pure value.
type Backoff struct {
	// Min is the nominal wait after the first failure; it doubles with each further one.
	Min time.Duration
	// Max is the nominal wait that the doubling ends at.
	Max time.Duration
	// ResetAfter is how long a child must have run well for the count to begin anew.
	ResetAfter time.Duration
	// QuarantineAfter is the number of fruitless runs in a row, those without Progress, from which on the
	// child is in quarantine: the nominal wait is Quarantine then, or Max where that is longer. A child
	// that does its work between failures is never in quarantine. 0: none is.
	QuarantineAfter int
	Quarantine      time.Duration
}

// Quarantined reports whether a child with so many fruitless runs in a row is in quarantine.
func (b Backoff) Quarantined(fruitless int) bool {
	return b.QuarantineAfter > 0 && fruitless >= b.QuarantineAfter
}

// QuarantineDelay returns the wait of a child in quarantine; u is as for Delay.
func (b Backoff) QuarantineDelay(u float64) time.Duration {
	return jittered(max(b.Quarantine, b.Max), u)
}

// jitterSpan is the width of the jitter as a part of the nominal wait: 0.75 to 1.25 times. Children
// that fell together, by one cause, shall not come back together.
const jitterSpan = 0.5

// Delay returns the wait before the next start after the given number of failures in a row, at
// least 1. u in [0, 1) places it within the jitter: 0.75 to 1.25 times the nominal wait.
func (b Backoff) Delay(failures int, u float64) time.Duration {
	return jittered(b.nominal(failures), u)
}

// jittered places u in [0, 1) within the jitter about a nominal wait.
func jittered(nominal time.Duration, u float64) time.Duration {
	return time.Duration(float64(nominal) * (1 - jitterSpan/2 + jitterSpan*u))
}

// nominal is the wait without the jitter.
func (b Backoff) nominal(failures int) time.Duration {
	nominal := min(b.Min, b.Max)
	for range failures - 1 {
		if nominal > b.Max/2 {
			return b.Max
		}
		nominal *= 2
	}
	return nominal
}

// Failures returns the number of failures in a row, this one included, of a child that had failed
// so many times before and has ended now after it ran well for healthy.
func (b Backoff) Failures(before int, healthy time.Duration) int {
	if healthy >= b.ResetAfter {
		return 1
	}
	return before + 1
}
