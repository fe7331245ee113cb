package clock

import (
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Difference is one clock minus another of the same instant. Its error is at most Window.
type Difference struct{ Value, Window time.Duration }

// Siblings are what the host's other clocks say of the steered one. Each difference changes for one
// reason alone, which is what makes a stranger's hand visible.
type Siblings struct {
	// At is the instant on L of Monotonic, within its window.
	At timescale.Instant
	// Monotonic is CLOCK_MONOTONIC - L: it moves by slews, never by steps.
	Monotonic Difference
	// Steps is CLOCK_REALTIME - CLOCK_MONOTONIC: it moves by steps, by leap seconds and by the time
	// spent in suspend, never by slews.
	Steps Difference
	// Slept is CLOCK_BOOTTIME - CLOCK_MONOTONIC: it moves by the time spent in suspend alone.
	Slept Difference
}

// siblingClocks read the clocks beside CLOCK_REALTIME, in nanoseconds.
type siblingClocks struct{ monotonic, boottime func() int64 }

func hostSiblings() *siblingClocks {
	return &siblingClocks{monotonic: gettime(unix.CLOCK_MONOTONIC), boottime: gettime(unix.CLOCK_BOOTTIME)}
}

// Siblings observes the clocks beside CLOCK_REALTIME, absent where the host was made without them.
func (h *Host) Siblings() sources.Optional[Siblings] {
	c := h.siblings
	if c == nil {
		return sources.None[Siblings]()
	}
	mid, mono, window := bracket(h.raw, c.monotonic, bracketTries)
	at := h.FromMonotonicRaw(mid)
	steps, slept := h.awake()
	return sources.Some(Siblings{
		At:        at,
		Monotonic: Difference{time.Duration(mono - int64(at)), window},
		Steps:     steps,
		Slept:     slept,
	})
}

// awake reads both of what a sleep moves, with no sleep between them: it would be a step without a reason.
func (h *Host) awake() (steps, slept Difference) {
	c := h.siblings
	slept = difference(c.boottime, c.monotonic, bracketTries)
	for {
		steps = difference(h.realtime, c.monotonic, bracketTries)
		after := difference(c.boottime, c.monotonic, 1)
		if !slept.interval().disjoint(after.interval()) {
			return steps, slept
		}
		slept = after
	}
}

// difference reads a - b.
func difference(a, b func() int64, tries int) Difference {
	mid, value, window := bracket(b, a, tries)
	return Difference{time.Duration(value - mid), window}
}
