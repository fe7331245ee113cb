package supervisor

import (
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Notifier sends a state string to the service manager (sd_notify(3)).
type Notifier func(state string) error

// SystemdNotify returns a Notifier for $NOTIFY_SOCKET; without one it does nothing.
func SystemdNotify() Notifier {
	return func(state string) error {
		if _, err := daemon.SdNotify(false, state); err != nil {
			return fmt.Errorf("notify the service manager: %w", err)
		}
		return nil
	}
}

// reloadingNow announces a reload, which READY=1 ends (sd_notify(3)).
func reloadingNow() string {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return "RELOADING=1" // every kernel has it; without it only Type=notify-reload misses something
	}
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000)
}

// statusEvery bounds how often the one-line status is sent.
const statusEvery = 5 * time.Second

// readiness tells the service manager what is true: ready when the control loop has decided once,
// alive as long as it ticks.
type readiness struct {
	notify   func(state string) bool
	ready    bool
	lastSent time.Time
	lastMode string
}

// tick is called after each tick of the loop.
func (r *readiness) tick(st Status) {
	state := "WATCHDOG=1"
	if !r.ready {
		state += "\nREADY=1"
	}
	if st.Mode != r.lastMode || st.At.Sub(r.lastSent) >= statusEvery {
		r.lastMode, r.lastSent = st.Mode, st.At
		state += "\nSTATUS=" + st.line()
	}
	r.ready = r.notify(state) || r.ready
}

// line is the status in one line.
func (s Status) line() string {
	return fmt.Sprintf("%s, following %s, offset %s, bound %s", s.Mode, s.Selected, s.Clock.OffsetNS, s.Clock.BoundNS)
}
