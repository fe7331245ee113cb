package clock

import (
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Observer is the driver "observe": it reads the system clock, which another daemon steers, and
// adjusts nothing.
type Observer struct {
	host  *Host
	adj   adjtime
	would sources.Optional[Command]
}

// NewObserver returns a Kernel that only watches the system clock through h.
func NewObserver(h *Host) *Observer { return &Observer{host: h, adj: adjustRealtime} }

// Read implements Kernel. Whoever steers the clock is no foreigner here: Foreign is always absent.
func (o *Observer) Read() (Reading, error) {
	t, err := readTimex(o.adj)
	if err != nil {
		return Reading{}, err
	}
	return observed(readingOf(t), o.host.Observe()), nil
}

// Apply implements Kernel: it refuses what the kernel would refuse, and records the rest.
func (o *Observer) Apply(c Command) error {
	if _, err := timexOf(c); err != nil {
		return err
	}
	o.would = sources.Some(c)
	return nil
}

// Would returns the last command that was not performed, absent before the first.
func (o *Observer) Would() sources.Optional[Command] { return o.would }

// AdjustsNothing tells the discipline that its commands have no effect.
func (o *Observer) AdjustsNothing() bool { return true }

// observed completes a reading with the observation of the clock.
func observed(r Reading, o timescale.Observation) Reading {
	r.At, r.Offset, r.Window = o.At, o.Offset, o.Window
	return r
}
