package process

import "time"

// Phase is where a Runner is in the life of its child.
type Phase int

// The phases of a Runner.
const (
	// PhaseStopped: Run has not begun or has returned; there is no child.
	PhaseStopped Phase = iota
	// PhaseStarting: preparing, or the shim is at work; the program does not run yet.
	PhaseStarting
	// PhaseRunning: the program runs. Whether it is healthy is not for this package to say.
	PhaseRunning
	// PhaseStopping: TERM was sent, the child has not ended yet.
	PhaseStopping
	// PhaseBackingOff: there is no child; the next start is due at State.NextStart.
	PhaseBackingOff
	// PhaseQuarantined: as PhaseBackingOff, with a long wait after failure upon failure.
	PhaseQuarantined
	// PhaseFailed: there is no child and there will be none, because the Spec cannot be run; or the
	// child survived KILL when it had to stop.
	PhaseFailed
)

// String returns the phase as one word in lower case.
func (p Phase) String() string {
	switch p {
	case PhaseStopped:
		return "stopped"
	case PhaseStarting:
		return "starting"
	case PhaseRunning:
		return "running"
	case PhaseStopping:
		return "stopping"
	case PhaseBackingOff:
		return "backing-off"
	case PhaseQuarantined:
		return "quarantined"
	case PhaseFailed:
		return "failed"
	}
	return "unknown"
}

// State is a snapshot of a Runner.
type State struct {
	// Name is the child's name.
	Name string
	// Phase is where the Runner is, Since when it got there.
	Phase Phase
	Since time.Time
	// PID is the child's process, 0 while there is none.
	PID int
	// Restarts counts the starts after the first one, those that went wrong included.
	Restarts int
	// Failures is the number of failures in a row that the backoff counts.
	Failures int
	// Fruitless is the number of runs in a row, starts that went wrong included, without Progress.
	Fruitless int
	// LastExit is how the last run ended; nil: none has ended.
	LastExit *Exit
	// LastError is why the last start went wrong; nil after one that went well.
	LastError error
	// LastLines are the last lines of output of the child that runs or ran last, oldest first.
	LastLines []string
	// NextStart is when a Runner that backs off starts the child; the zero time otherwise.
	NextStart time.Time
}

// NextStartIn returns the time from now until the next start, 0 when none is due or it is overdue.
func (s State) NextStartIn(now time.Time) time.Duration {
	if s.NextStart.IsZero() {
		return 0
	}
	return max(0, s.NextStart.Sub(now))
}
