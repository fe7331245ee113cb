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

// timekeeper is a Kernel that tells the present instant on L, to place a write between two instants.
type timekeeper interface{ Now() timescale.Instant }

// reclaimer is a Kernel on which a stranger can leave a correction running that the next write does
// not end. Reclaim has the next Apply end it.
type reclaimer interface{ Reclaim() }

// oscillator is a Kernel whose uncommanded rate against L is known to be other than nothing.
type oscillator interface{ OscillatorPPB() float64 }

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
	// Leap is the leap second that the kernel is armed for.
	Leap sources.Leap
	// Siblings are the clocks beside the steered one, absent where the driver has none.
	Siblings sources.Optional[Siblings]
	// Foreign is present when somebody else wrote to the clock since the last Read or Apply. Each
	// write is seen once.
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
