package clock

import (
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Kernel is the clock that is steered, behind one of three drivers. A Kernel is owned by one
// goroutine.
type Kernel interface {
	// Read observes the clock against L and returns the state that its driver reports.
	Read() (Reading, error)
	// Apply performs a command, all parts of it or an error that says which part was refused.
	Apply(Command) error
}

// Reading is one observation of the steered clock.
type Reading struct {
	// At is the instant on L, in the middle of the reading window.
	At timescale.Instant
	// Offset is the steered clock - L.
	Offset time.Duration
	// Window is the half-width of the reading window: the largest error of Offset.
	Window time.Duration
	// FreqPPB is the frequency correction in force, in parts per billion, positive: the clock is
	// made to run faster. It includes what TickMicros contributes.
	FreqPPB float64
	// TickMicros is the length of the kernel's tick in microseconds of USER_HZ, nominally 10000.
	TickMicros int64
	// TAIOffset is the kernel's TAI - UTC in whole seconds; 0 is the kernel's "never set".
	TAIOffset int
	// Synchronised is false while STA_UNSYNC is set.
	Synchronised bool
	// MaxError and EstError are as the kernel reports them.
	MaxError, EstError time.Duration
	// Foreign is present when somebody else wrote to the clock since the last Apply.
	Foreign sources.Optional[ForeignWrite]
}

// Command is what the writer does at once, in one control period.
type Command struct {
	// FreqPPB is the frequency correction to set, in parts per billion, positive: run faster.
	// Absent: unchanged.
	FreqPPB sources.Optional[float64]
	// Step is added to the clock. Positive: forward. Absent: no step.
	Step sources.Optional[time.Duration]
	// Synchronised clears STA_UNSYNC; false sets it and leaves MaxError and EstError to the kernel,
	// which grows the former.
	Synchronised bool
	// Leap arms the kernel's leap second at the end of the current UTC day.
	Leap sources.Leap
	// TAIOffset is TAI - UTC in whole seconds. Absent: unchanged.
	TAIOffset sources.Optional[int]
	// MaxError and EstError are the published error bound and estimate.
	MaxError, EstError time.Duration
}
