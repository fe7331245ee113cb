package sources

// Outcome is what a Tracker did with a sample.
type Outcome uint8

// The outcomes. Only Accepted and Restarted changed the estimate.
const (
	// Accepted: the sample entered the estimate.
	Accepted Outcome = iota + 1
	// Restarted: the sample completed the evidence of a real change; the estimate starts again
	// from the samples that showed it.
	Restarted
	// Duplicate: the instant of the newest sample again. A source that sends only these is frozen.
	Duplicate
	// Backwards: older than the newest sample.
	Backwards
	// Future: later than the present instant given to Observe.
	Future
	// Outlier: further from the prediction than the learnt spread explains; held as possible
	// evidence of a real change.
	Outlier
	// Absurd: not a measurement at all, as a negative delay.
	Absurd
)

// Verdict is the outcome for one sample with its reason in words.
type Verdict struct {
	Outcome Outcome
	// Reason is empty for an accepted sample.
	Reason string
}

// Entered reports whether the sample changed the estimate.
func (v Verdict) Entered() bool { return v.Outcome == Accepted || v.Outcome == Restarted }
