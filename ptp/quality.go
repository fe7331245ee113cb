package ptp

import (
	"fmt"
	"slices"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/sources"
)

// quality is what the grandmaster says of itself, empty while ptp4l has none: its data sets then
// describe ptp4l's own clock.
func quality(s Snapshot) sources.Quality {
	if s.Time.GMPresent == 0 {
		return sources.Quality{}
	}
	flags := s.Properties.Flags
	q := sources.Quality{
		Reference:     s.Parent.GrandmasterIdentity.String(),
		ClockClass:    sources.Some(uint8(s.Parent.GrandmasterClockQuality.ClockClass)),
		ClockAccuracy: clockAccuracy(s.Parent.GrandmasterClockQuality.ClockAccuracy),
		StepsRemoved:  sources.Some(s.Current.StepsRemoved),
		PTPTimescale:  sources.Some(flags.Has(flagPTPTimescale)),
		TimeTraceable: sources.Some(flags.Has(flagTimeTraceable)),
		Leap:          sources.Some(leap(flags)),
	}
	if flags.Has(flagUTCOffsetValid) {
		q.UTCOffset = sources.Some(time.Duration(s.Properties.CurrentUTCOffset) * time.Second)
	}
	return q
}

func leap(f TimeFlags) sources.Leap {
	switch {
	case f.Has(flagLeap61) && !f.Has(flagLeap59):
		return sources.LeapInsert
	case f.Has(flagLeap59) && !f.Has(flagLeap61):
		return sources.LeapDelete
	}
	return sources.LeapNone // none, or both: a contradiction announces nothing
}

// clockAccuracies are the limits of IEEE 1588-2019, table 5, from 0x17 (1 ps) to 0x30 (10 s). The
// limits below 1 ns are rounded up to it.
var clockAccuracies = [...]time.Duration{
	1, 1, 1, 1, 1, 1, // 1, 2.5, 10, 25, 100, 250 ps
	1, 3, 10, 25, 100, 250, // ns; 2.5 ns rounded up
	1 * time.Microsecond, 2500 * time.Nanosecond, 10 * time.Microsecond, 25 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond,
	1 * time.Millisecond, 2500 * time.Microsecond, 10 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	1 * time.Second, 10 * time.Second,
}

// clockAccuracy is absent for "unknown" (0xFE), "worse than 10 s" (0x31), and reserved values.
func clockAccuracy(a protocol.ClockAccuracy) sources.Optional[time.Duration] {
	const first = 0x17
	if int(a) < first || int(a) >= first+len(clockAccuracies) {
		return sources.None[time.Duration]()
	}
	return sources.Some(clockAccuracies[int(a)-first])
}

// utcOffset is what is subtracted from the master's time to get UTC. The override wins over
// everything. Without it, a master on the PTP timescale (TAI) must say the UTC offset and flag it
// valid; a master on an arbitrary timescale is taken to serve UTC, as ptp4l itself takes it. When
// it cannot be known, the reason says so and names the remedy.
func utcOffset(s Snapshot, override sources.Optional[time.Duration]) (offset time.Duration, unknown string) {
	if d, ok := override.Get(); ok {
		return d, ""
	}
	flags := s.Properties.Flags
	switch {
	case s.Time.GMPresent == 0:
		return 0, "no grandmaster"
	case !flags.Has(flagPTPTimescale):
		return 0, ""
	case !flags.Has(flagUTCOffsetValid):
		return 0, fmt.Sprintf("grandmaster %v serves TAI and flags no valid UTC offset (says %d s): mend the grandmaster, or set utc_offset",
			s.Parent.GrandmasterIdentity, s.Properties.CurrentUTCOffset)
	}
	return time.Duration(s.Properties.CurrentUTCOffset) * time.Second, ""
}

// portWords explain the port states that measure nothing (IEEE 1588-2019, table 20).
var portWords = map[protocol.PortState]struct {
	condition sources.Condition
	words     string
}{
	protocol.PortStateInitializing: {sources.Unreachable, "port is INITIALIZING"},
	protocol.PortStateFaulty:       {sources.Unreachable, "port is FAULTY: link down, capability missing or transmit timestamps lost; see ptp4l's output"},
	protocol.PortStateDisabled:     {sources.Unreachable, "port is DISABLED"},
	protocol.PortStateListening:    {sources.Unreachable, "port is LISTENING: no Announce of a master in this domain"},
	protocol.PortStatePreMaster:    {sources.Unsynchronised, "port is PRE_MASTER: it follows nobody"},
	protocol.PortStateMaster:       {sources.Unsynchronised, "port is MASTER: it follows nobody"},
	protocol.PortStateGrandMaster:  {sources.Unsynchronised, "port is GRAND_MASTER: it follows nobody"},
	protocol.PortStatePassive:      {sources.Unsynchronised, "port is PASSIVE: another port of this engine is in use"},
}

// active reports whether the port follows a master. In free_running it stays UNCALIBRATED for good, and
// with hardware timestamps until ptp4l has settled the PHC, which is not what is measured: whether it
// measures is for the samples to say.
func active(state protocol.PortState) bool {
	return state == protocol.PortStateSlave || state == protocol.PortStateUncalibrated
}

// activePort is the index of the port that follows a master, or -1.
func activePort(ports []PortStatus) int {
	return slices.IndexFunc(ports, func(p PortStatus) bool { return active(p.Data.PortState) })
}

// portCondition is what the state of a port alone says.
func portCondition(state protocol.PortState) (sources.Condition, string) {
	if active(state) {
		return sources.Measuring, fmt.Sprintf("port is %v", state)
	}
	if w, ok := portWords[state]; ok {
		return w.condition, w.words
	}
	return sources.Unsynchronised, fmt.Sprintf("port is in unknown state %d", state)
}
