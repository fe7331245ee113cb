package clock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"clockarbiter/clock/timescale"
)

// This is the only file of the program that calls clock_adjtime. The linter enforces it.

// ErrNoPrivilege says that the process may not adjust the clock.
var ErrNoPrivilege = errors.New("no permission to adjust CLOCK_REALTIME: give the service CAP_SYS_TIME " +
	"(AmbientCapabilities=CAP_SYS_TIME, ProtectClock=no, PrivateUsers=no) or choose driver \"observe\"")

// adjtime is clock_adjtime on one clock: it performs t.Modes and fills t with the state.
type adjtime func(t *unix.Timex) error

// adjustRealtime is the system call.
func adjustRealtime(t *unix.Timex) error {
	_, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, t)
	return err
}

// readTimex returns the kernel's clock state and adjusts nothing: no mode bit is set.
func readTimex(adj adjtime) (unix.Timex, error) {
	var t unix.Timex
	if err := adj(&t); err != nil {
		return unix.Timex{}, fmt.Errorf("read the kernel's clock state: %w", err)
	}
	return t, nil
}

// System is the driver "kernel": the Kernel that steers CLOCK_REALTIME. It adjusts nothing until
// the first Apply.
type System struct {
	host *Host
	adj  adjtime
	// known is the state that the last write returned, or what was found since: nil before the
	// first write.
	known *unix.Timex
	// taken is false until what a previous owner or a stranger left running was ended.
	taken bool
}

// NewSystem returns the writer of the system clock, which is observed through h.
func NewSystem(h *Host) *System { return &System{host: h, adj: adjustRealtime} }

// Now returns the present instant on L.
func (s *System) Now() timescale.Instant { return s.host.Now() }

// Read implements Kernel. Reading.Foreign says what somebody else wrote since the last Read or Apply.
func (s *System) Read() (Reading, error) {
	t, err := readTimex(s.adj)
	if err != nil {
		return Reading{}, err
	}
	r := readingOf(t)
	if s.known != nil {
		r.Foreign = foreignWrite(*s.known, t)
		s.known = &t
	}
	// Before the siblings, so that no step is in the offset and not yet among what others did: it would be
	// corrected twice.
	r = observed(r, s.host.Observe())
	r.Siblings = s.host.Siblings()
	if leapStep(r.Leap) != 0 {
		// A leap second that the siblings show, TAI - UTC shows too.
		later, err := readTimex(s.adj)
		if err != nil {
			return Reading{}, err
		}
		r.TAIOffset = int(later.Tai)
	}
	return r, nil
}

// Apply implements Kernel with one call of clock_adjtime, which the kernel performs as a whole or
// refuses as a whole. The first Apply also ends what a previous owner left running.
func (s *System) Apply(c Command) error {
	t, err := timexOf(c)
	if err != nil {
		return err
	}
	if !s.taken {
		if err := s.takeOver(); err != nil {
			return err
		}
		s.taken = true
	}
	step := t.Modes&unix.ADJ_SETOFFSET != 0
	if err := s.adj(&t); err != nil {
		return &RefusedError{Part: partsOf(t.Modes), Err: privilege(err)}
	}
	s.known = &t
	if step {
		// Narrows the interval in which the step lies to the time of one call.
		s.host.Observe()
	}
	return nil
}

// Reclaim has the next Apply end what a stranger left running.
func (s *System) Reclaim() { s.taken = false }

// takeOver ends an adjtime slew and a PLL correction that a previous owner may have left: the
// kernel would go on adding both to our frequency. The PLL takes a new correction, of nothing, only
// while it is on; the write that follows turns it off. The frequency is left alone.
func (s *System) takeOver() error {
	slew := unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT}
	if err := s.adj(&slew); err != nil {
		return &RefusedError{Part: "end of a foreign slew", Err: privilege(err)}
	}
	pll := unix.Timex{Modes: unix.ADJ_OFFSET | unix.ADJ_STATUS | unix.ADJ_NANO, Status: unix.STA_PLL | unix.STA_UNSYNC}
	if err := s.adj(&pll); err != nil {
		return &RefusedError{Part: "end of a foreign correction", Err: privilege(err)}
	}
	return nil
}

// privilege turns the kernel's refusal for lack of CAP_SYS_TIME into one that names the remedy.
func privilege(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: %w", ErrNoPrivilege, err)
	}
	return err
}

// partsOf names what a call of clock_adjtime was to change.
func partsOf(modes uint32) string {
	parts := "status"
	if modes&unix.ADJ_TAI != 0 {
		parts += ", TAI offset"
	}
	if modes&unix.ADJ_FREQUENCY != 0 {
		parts = "frequency, " + parts
	}
	if modes&unix.ADJ_SETOFFSET != 0 {
		parts = "step, " + parts
	}
	return parts
}
