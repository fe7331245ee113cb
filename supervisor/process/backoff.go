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
}

// jitterSpan is the width of the jitter as a part of the nominal wait: 0.75 to 1.25 times. Children
// that fell together, by one cause, shall not come back together.
const jitterSpan = 0.5

// Delay returns the wait before the next start after the given number of failures in a row, at
// least 1. u in [0, 1) places it within the jitter: 0.75 to 1.25 times the nominal wait.
func (b Backoff) Delay(failures int, u float64) time.Duration {
	nominal := min(b.Min, b.Max)
	for range failures - 1 {
		if nominal > b.Max/2 {
			nominal = b.Max
			break
		}
		nominal *= 2
	}
	return time.Duration(float64(nominal) * (1 - jitterSpan/2 + jitterSpan*u))
}

// Failures returns the number of failures in a row, this one included, of a child that had failed
// so many times before and has ended now after it ran well for healthy.
func (b Backoff) Failures(before int, healthy time.Duration) int {
	if healthy >= b.ResetAfter {
		return 1
	}
	return before + 1
}
