package arbiter

import (
	"time"

	"clockarbiter/clock/timescale"
)

// Answer is what to do when two sources contradict each other and no third settles it.
type Answer uint8

// The answers.
const (
	// KeepIncumbent follows the source that was followed before, unless it is the one that jumped;
	// without an incumbent nothing is followed.
	KeepIncumbent Answer = iota + 1
	// BetterBound follows the source with the smaller error bound.
	BetterBound
	// HoldOver follows neither.
	HoldOver
)

// Config holds every threshold of the arbiter. DefaultConfig has the defaults.
type Config struct {
	// MinSources is the number of truechimers needed to follow any. Default 1.
	MinSources int
	// MaxDistance: a source with a larger error bound is Distant. Default 1.5 s (RFC 5905,
	// MAXDIST).
	MaxDistance time.Duration
	// MaxJitter: a source whose samples spread further is Jittery. Default 100 ms.
	MaxJitter time.Duration
	// MaxAge is the hard limit on the age of a source's newest sample where its Options have
	// none; 0, the default, is 4 s for PTP and 256 s for NTP, four times the usual maximum poll.
	MaxAge time.Duration
	// Settle is the number of samples that a new, returned or jumped source needs before it may
	// be followed. Default 4.
	Settle int
	// ImprovementHold is how long a better source must stay better. Default 10 s.
	ImprovementHold time.Duration
	// DegradationHold is how long a worsened incumbent is kept. Default 3 s. A source that is
	// lost or named a falseticker is left at once.
	DegradationHold time.Duration
	// Hysteresis is the factor by which a challenger's score must beat the incumbent's. Default
	// 2; at least 1.
	Hysteresis float64
	// Disagreement answers two sources against each other. Default KeepIncumbent.
	Disagreement Answer
	// LockThreshold: Acquiring becomes Locked below this error of the system clock or below the
	// bound, whichever is larger; Locked ends above four times that. Default 50 us.
	LockThreshold time.Duration
	// HoldoverMaxBound ends holdover in FreeRunning. Default 10 ms. Where the bound was already
	// above half of this when holdover began, the limit is twice the bound at that time.
	HoldoverMaxBound time.Duration
	// HoldoverMaxTime ends holdover in FreeRunning. Default 24 h.
	HoldoverMaxTime time.Duration
	Step            StepPolicy
	// NotBefore and NotAfter are the earliest and the latest date that is believed of any source, as
	// instants of UTC. Default 0: no limit.
	NotBefore, NotAfter timescale.Instant
	// Witness lets the local oscillator and the others' samples convict a source that moves within
	// their error intervals. Default true.
	Witness bool
	// Quarantine is how long a source that moved is kept out unless it returns; after that it is
	// taken for a correction. Default 24 h.
	Quarantine time.Duration
	// LearnBias learns the others' constant offsets while a clearly best source is followed, so that
	// a fall-back starts from them. Default true.
	LearnBias bool
	// BiasMaxAge is how long a learnt bias is used after it was last confirmed. Default 24 h.
	BiasMaxAge time.Duration
	// Combine follows near-equal sources together. Default true.
	Combine bool
	// Limits of the clock's error bound, ascending: each decision says how long each would hold without
	// any source. Default 100 us, 1 ms, 50 ms.
	Limits []time.Duration
}

// StepPolicy says when the clock may be stepped.
type StepPolicy struct {
	// Threshold: smaller errors are always slewed. Default 1 ms; 0: never step.
	Threshold time.Duration
	// AtStart permits steps until the clock was first locked. Default true.
	AtStart bool
	// WhenRunning permits them after that too. Default false.
	WhenRunning bool
	// MinAgreement is the number of independent sources that must agree on a step, limited by the
	// number configured. Default 2.
	MinAgreement int
	// AgreementWait is how long, from the first source that could be followed, the start waits for
	// the agreement before it follows without a step. Default 10 s.
	AgreementWait time.Duration
	// Panic: a larger error after the start is not followed at all. Default 1000 s; 0: no limit.
	Panic time.Duration
}

// DefaultConfig returns the defaults that the fields document.
func DefaultConfig() Config {
	return Config{
		MinSources:       1,
		MaxDistance:      1500 * time.Millisecond,
		MaxJitter:        100 * time.Millisecond,
		Settle:           4,
		ImprovementHold:  10 * time.Second,
		DegradationHold:  3 * time.Second,
		Hysteresis:       2,
		Disagreement:     KeepIncumbent,
		LockThreshold:    50 * time.Microsecond,
		HoldoverMaxBound: 10 * time.Millisecond,
		HoldoverMaxTime:  24 * time.Hour,
		Witness:          true,
		Quarantine:       24 * time.Hour,
		LearnBias:        true,
		BiasMaxAge:       24 * time.Hour,
		Combine:          true,
		Limits:           []time.Duration{100 * time.Microsecond, time.Millisecond, 50 * time.Millisecond},
		Step: StepPolicy{
			Threshold:     time.Millisecond,
			AtStart:       true,
			MinAgreement:  2,
			AgreementWait: 10 * time.Second,
			Panic:         1000 * time.Second,
		},
	}
}

// maxAge returns the limit on the age of the newest sample of a candidate.
func (c Config) maxAge(o Options, isPTP bool) time.Duration {
	switch {
	case o.MaxAge > 0:
		return o.MaxAge
	case c.MaxAge > 0:
		return c.MaxAge
	case isPTP:
		return 4 * time.Second
	default:
		return 256 * time.Second
	}
}
