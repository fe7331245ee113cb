package arbiter

import (
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Options are what the configuration says about one source, in chrony's words.
type Options struct {
	// Prefer ranks the source before every source without it.
	Prefer bool
	// Trust makes the source a truechimer as long as the trusted sources agree with each other.
	Trust bool
	// Require forbids steering unless at least one required source survives.
	Require bool
	// NoSelect measures the source and never follows it nor lets it vote.
	NoSelect bool
	// Floor is the smallest error bound that is believed of the source.
	Floor time.Duration
	// MaxAge is the hard limit on the age of the newest sample.
	MaxAge time.Duration
	// Independence names what the source shares with others: two sources with the same
	// non-empty value are one vote in the agreement behind a step (two interfaces that hear the
	// same grandmaster).
	Independence string
}

// Candidate is everything the arbiter knows of one source at one instant.
type Candidate struct {
	ID      sources.ID
	Kind    sources.Kind
	Options Options
	// Report is the engine's latest word; absent before the first.
	Report sources.Optional[sources.Report]
	// Estimate is projected to Input.Now; absent until there is one.
	Estimate sources.Optional[sources.Estimate]
	// Newest is the newest sample heard of the source, whether its tracker believed it or not: what
	// the witness compares. Absent before the first, and where nobody passes samples on.
	Newest sources.Optional[sources.Sample]
}

// Input is one instant's view. Candidates are sorted by ID.
type Input struct {
	Now timescale.Instant
	// System is the steered clock - L, as just observed.
	System     time.Duration
	Candidates []Candidate
	// Temperature is what a sensor near the oscillator says, absent without one.
	Temperature sources.Optional[Temperature] `json:",omitzero"`
}

// Mode says what the system clock follows.
type Mode uint8

// The modes.
const (
	// FreeRunning: no source has ever been followed, or holdover ran out.
	FreeRunning Mode = iota + 1
	// Acquiring: a source is followed and the clock is not yet within the lock threshold.
	Acquiring
	// Locked: the clock follows a source within the lock threshold.
	Locked
	// Holdover: no source is followed; the clock keeps the last good frequency.
	Holdover
)

// State is the arbiter's verdict on one source. The order is the order of the tests: a source has
// the first state whose test it fails.
type State uint8

// The states, with the mark that status shows.
const (
	Unreachable    State = iota + 1 // '?' nothing is heard of it
	Unsynchronised                  // 'u' it answers, and says or shows that its time is not to be used
	Stale                           // 'o' its newest sample is too old
	Jittery                         // '~' its samples spread too far
	Distant                         // 'd' its error bound is too large
	Falseticker                     // 'x' the majority says that it lies
	Watched                         // 'n' configured noselect: measured, without a vote, never followed
	Settling                        // 's' it is believed, but too new to be followed
	Selectable                      // '+' it may be selected
	Selected                        // '*' it is followed
)

// Verdict is the outcome for one source.
type Verdict struct {
	ID    sources.ID
	State State
	// Reason says in words, with figures, why the source has this state.
	Reason string
	// Offset is source - system clock: what the source would have the clock corrected by.
	// Absent without an estimate, as are Bound and Score.
	Offset sources.Optional[time.Duration]
	// Bound is the half-width of the error interval used in the vote.
	Bound sources.Optional[time.Duration]
	// Score ranks the selectable sources; smaller is better. In seconds.
	Score sources.Optional[float64]
	// Bias is the learnt constant offset of the source, which is taken off where the source is
	// followed in place of the one that it was learnt from. Absent where none is known.
	Bias sources.Optional[time.Duration]
	// BiasAge is how long ago it was last confirmed, in this run or an earlier one.
	BiasAge sources.Optional[time.Duration]
}

// EventKind names what changed.
type EventKind uint8

// The kinds of event.
const (
	// ModeChanged: From and To are modes.
	ModeChanged EventKind = iota + 1
	// SelectionChanged: From and To are source IDs, empty for none.
	SelectionChanged
	// SourceStateChanged: From and To are states of Source.
	SourceStateChanged
	// FaultRaised and FaultCleared: To or From is the name of the fault.
	FaultRaised
	FaultCleared
	// StepOrdered: the discipline may step the clock by Offset.
	StepOrdered
	// StepRefused: a step would be needed and the policy forbids it.
	StepRefused
	// LimitViolated and LimitMet: the clock's error bound exceeds the limit From, or is below To again.
	LimitViolated
	LimitMet
)

// Event is one transition, reported once, with the numbers behind it.
type Event struct {
	Kind     EventKind
	Source   sources.ID
	From, To string
	Reason   string
	// Offset is source - system clock, Bound its half-width, where there are any.
	Offset sources.Optional[time.Duration]
	Bound  sources.Optional[time.Duration]
}

// Decision is the outcome of one step. It is complete: nothing that acts on it needs to look
// anywhere else.
type Decision struct {
	// Number counts the decisions of this arbiter from 1; with the start instant it identifies
	// the decision.
	Number uint64
	At     timescale.Instant
	Mode   Mode
	// Selected is the source that is followed, absent in FreeRunning and Holdover.
	Selected sources.Optional[sources.ID]
	// Rule names the rule that decided, Reason explains it in words with figures.
	Rule   string
	Reason string
	// Verdicts has one entry per candidate, in the order of the candidates.
	Verdicts []Verdict
	// Target is where UTC is on L, absent in FreeRunning: the discipline makes the system clock
	// follow it. In Holdover it is extrapolated.
	Target sources.Optional[sources.Estimate]
	// Bound is the half-width of the error interval of UTC on L around Target.
	Bound sources.Optional[time.Duration]
	// Combined lists the sources whose samples make the target, where it is more than one.
	Combined []sources.ID
	// Leap is the leap second to arm: what the survivors and the leap second table announce, on the last
	// day of the month only.
	Leap sources.Leap
	// Hold tells that the armed leap second is due: the clock keeps the target's rate and is not
	// corrected until it is over.
	Hold bool
	// TAI is TAI - UTC as the survivors and the table have it, absent unless the clock is locked and most
	// agree.
	TAI sources.Optional[time.Duration]
	// Step is ordered when present: the amount to add to the system clock at once. Agreement
	// lists the independent sources that stand behind it.
	Step      sources.Optional[time.Duration]
	Agreement []sources.ID
	// Limits is how each of Config.Limits stands, in their order.
	Limits []LimitState
	// Thermal is what is known of the oscillator's temperature and ageing, absent without a sensor.
	Thermal sources.Optional[Thermal] `json:",omitzero"`
	// Change says what would change the decision, for a person.
	Change string
	// Timers are the waits that are running.
	Timers []Timer
	// Faults lists the named faults that hold now, sorted by name and source.
	Faults []Fault
	// Events lists the transitions since the previous decision, none in steady state.
	Events []Event
}
