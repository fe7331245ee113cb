package ptp

import (
	"fmt"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/sources"
)

const (
	// lockedOffset: while ptp4l says that the PHC is further from the master, it is still steering it
	// there and a reading says nothing about the master.
	lockedOffset = 100 * time.Microsecond
	// lockedPolls: consecutive polls within lockedOffset before readings count.
	lockedPolls = 2
	// settledCrossings and settledPolls: after that ptp4l's servo has pulled the PHC in. Until its offset has
	// crossed zero twice it is on the way there, microseconds off in one direction for tens of seconds, and
	// what is read moves with it: not noise, but a drift that no grandmaster made. A servo that never
	// crosses, because its source drifts, counts after settledPolls.
	settledCrossings, settledPolls = 2, 30
	// offsetWindow: polls over which the largest master_offset counts as the PHC's own error.
	offsetWindow = 8
	// jumpLimit and maxPHCRatePPB: a PHC that moved further against L between two readings did not
	// drift, and was not slewed by ptp4l's servo: it was stepped or reset.
	jumpLimit     = 20 * time.Microsecond
	maxPHCRatePPB = 1_500_000
)

// phcTracker decides which readings of a PHC say where the master's clock is. Pure.
type phcTracker struct {
	offsets   []time.Duration // PHC - master as ptp4l saw it, newest last
	good      int             // consecutive good polls
	crossings int             // changes of the offset's sign among them
	last      sources.Optional[PHCReading]
	jumped    time.Duration // size of the jump that ended the last lock, 0 for none
}

// status takes the state of the active port and master_offset of one poll. Until ptp4l has measured
// a path delay, it reports 0: that is no measurement.
func (t *phcTracker) status(slave bool, s Snapshot) {
	off := time.Duration(s.Time.MasterOffsetNS)
	known := s.Time.MasterOffsetNS != 0 || s.Current.MeanPathDelay != 0
	if !slave || s.Time.GMPresent == 0 || !known || off.Abs() > lockedOffset {
		t.unlock()
		return
	}
	t.good++
	if n := len(t.offsets); n > 0 && (off < 0) != (t.offsets[n-1] < 0) {
		t.crossings++
	}
	t.offsets = append(t.offsets, off)
	t.offsets = t.offsets[max(0, len(t.offsets)-offsetWindow):]
}

// reading takes a reading and returns master's timescale - L with its half-width, or false while
// the PHC does not follow the master. A jump throws the lock away: the next polls must prove it.
func (t *phcTracker) reading(r PHCReading) (offset, dispersion time.Duration, ok bool) {
	offset = time.Duration(r.Time - int64(r.At))
	if last, have := t.last.Get(); have {
		moved := offset - time.Duration(last.Time-int64(last.At))
		drift := time.Duration(float64(r.At.Sub(last.At).Abs()) * maxPHCRatePPB * 1e-9)
		if moved.Abs() > jumpLimit+drift+r.Window+last.Window {
			t.unlock()
			t.jumped = moved
		}
	}
	t.last = sources.Some(r)
	if !t.settled() {
		return 0, 0, false
	}
	t.jumped = 0
	var spread time.Duration
	for _, o := range t.offsets {
		spread = max(spread, o.Abs())
	}
	return offset, r.Window + spread, true
}

func (t *phcTracker) unlock() { t.good, t.crossings, t.offsets = 0, 0, nil }

// settled reports whether the PHC follows the master and is no longer on its way there.
func (t *phcTracker) settled() bool {
	return t.good >= lockedPolls && t.crossings >= settledCrossings || t.good >= settledPolls
}

// lost forgets the last reading, after the device went away.
func (t *phcTracker) lost() { *t = phcTracker{} }

// waiting says why there are no samples, or is empty.
func (t *phcTracker) waiting(s Snapshot) string {
	switch {
	case t.settled():
		return ""
	case t.jumped != 0:
		return fmt.Sprintf("PHC jumped by %v, waiting for ptp4l to lock it again", t.jumped)
	}
	if t.good > 0 {
		return fmt.Sprintf("PHC is being pulled to the master: master_offset %v", time.Duration(s.Time.MasterOffsetNS))
	}
	return fmt.Sprintf("PHC is not locked to the master: master_offset %v", time.Duration(s.Time.MasterOffsetNS))
}

// activePort is the index of the port that follows the master, or -1.
func activePort(mode Mode, ports []PortStatus) int {
	for i, p := range ports {
		if active(mode, p.Data.PortState) {
			return i
		}
	}
	return -1
}

// pathDelay is the round-trip delay to the master behind the readings of a PHC, absent while
// unknown.
func pathDelay(s Snapshot, port PortStatus) sources.Optional[time.Duration] {
	d := s.Current.MeanPathDelay
	if port.Data.DelayMechanism == delayMechanismP2P {
		d = port.Data.PeerMeanPathDelay
	}
	if d == 0 {
		return sources.None[time.Duration]()
	}
	return sources.Some(2 * max(interval(d), 0))
}

// delayMechanismP2P is delayMechanism's value for peer to peer (IEEE 1588-2019, table 21).
const delayMechanismP2P = 2

// interval converts a TimeInterval.
func interval(t protocol.TimeInterval) time.Duration { return time.Duration(int64(t) >> 16) }
