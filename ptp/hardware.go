package ptp

import (
	"fmt"
	"math"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// ptp4l measures at each Sync how far the PHC is from the master, changes the PHC's rate at once, and leaves
// it alone until the next. So between two Syncs that difference goes along a straight line, and a
// reading of the PHC less that line is a reading of the master, whatever the servo makes of the PHC meanwhile:
// pulling it in, following a liar, or hunting by the steps in which the hardware takes a rate.
const (
	// servoDelay is how long the servo may take to act on a Sync: it has to wait for the Follow_Up.
	servoDelay = 10 * time.Millisecond
	// servoPPM is how fast the servo moves the PHC at most.
	servoPPM = 1000
	// growthPPM is by how much the difference may grow from one Sync to the next: more than that, and more
	// than twice what it was, is a master that jumped somewhere between.
	growthPPM = 100
	// settledOffset, settledCrossings and settledPolls: where not every Sync is seen, the line between those that
	// are is none, and readings count only once the PHC follows the master. It does when its offset has been
	// within settledOffset and has crossed zero twice: before that it may be on the way for tens of
	// seconds, microseconds off in one direction. A servo that never crosses, because its source
	// drifts, counts after settledPolls.
	settledOffset                  = 100 * time.Microsecond
	settledCrossings, settledPolls = 2, 30
	// offsetWindow: polls over which the largest master_offset counts as the PHC's own error then.
	offsetWindow = 8
	// waitingReadings are kept for the next Sync.
	waitingReadings = 64
	// jumpLimit and maxPHCRatePPB: a PHC that moved further against L between two readings did not
	// drift, and was not slewed by ptp4l's servo: it was stepped or reset.
	jumpLimit     = 20 * time.Microsecond
	maxPHCRatePPB = 1_500_000
)

// phcSync is what ptp4l made of a Sync: PHC - master when the PHC showed at.
type phcSync struct {
	at     int64 // ns of the PHC
	offset time.Duration
}

// masterReading says where the master's timescale was on L: that - L, with its half-width.
type masterReading struct {
	at                 timescale.Instant
	offset, dispersion time.Duration
}

// phcTracker makes readings of the master out of readings of the PHC. Pure.
type phcTracker struct {
	newest  sources.Optional[phcSync]
	moved   sources.Optional[time.Duration] // by which the servo moved the PHC between the newest two Syncs
	waiting []PHCReading                    // since the newest Sync, oldest first
	recent  []PHCReading                    // the newest two
	jumped  time.Duration                   // size of the PHC's own jump since the last reading of the master, 0 for none
	why     string                          // there is no reading of the master, empty when there is

	offsets   []time.Duration // of the newest Syncs, newest last
	crossings int             // changes of their sign
	good      int             // how many there were within settledOffset
}

// status takes the outcome of one poll and returns what the readings since the last Sync say of the master.
func (t *phcTracker) status(follows bool, s Snapshot, interval time.Duration) []masterReading {
	// Until ptp4l has measured a path delay, it reports 0: that is no measurement.
	known := s.Time.MasterOffsetNS != 0 || s.Current.MeanPathDelay != 0
	if !follows || s.Time.GMPresent == 0 || !known || s.Time.IngressTimeNS == 0 {
		t.restart("ptp4l has not compared the PHC with the master")
		return nil
	}
	sync := phcSync{s.Time.IngressTimeNS, time.Duration(s.Time.MasterOffsetNS)}
	before, ok := t.newest.Get()
	if ok && before.at == sync.at {
		return nil
	}
	t.newest = sources.Some(sync)
	t.judge(sync.offset)
	if !ok {
		t.waiting = nil
		if t.jumped == 0 {
			t.why = "waiting for another Sync"
		}
		return nil
	}
	out := t.between(before, sync, interval)
	// What was more than the servo can do was the master.
	t.moved = sources.Some(min((sync.offset - before.offset).Abs(), interval*servoPPM/1_000_000))
	return out
}

// between returns the readings of the master from one Sync to another.
func (t *phcTracker) between(from, to phcSync, interval time.Duration) []masterReading {
	correct := from.straight(to, interval)
	if !correct && !t.settled() {
		t.why = fmt.Sprintf("ptp4l is moving the PHC to the master: master_offset %v, %v before", to.offset, from.offset)
	}
	late := t.late(to.offset-from.offset, interval)
	var out []masterReading
	if calm := t.moved.Or(interval) <= jumpLimit; calm && from.jumped(to) && len(t.recent) == 2 {
		out = append(out, t.landed(to, interval))
	}
	for len(t.waiting) > 0 && t.waiting[0].Time <= to.at {
		r := t.waiting[0]
		t.waiting = t.waiting[1:]
		switch {
		case r.Time < from.at:
		case correct:
			out = append(out, masterReading{r.At, r.offset() - from.line(to, r.Time), r.Window + late})
		case t.settled():
			out = append(out, masterReading{r.At, r.offset(), r.Window + t.spread()})
		}
	}
	if len(out) > 0 {
		t.jumped, t.why = 0, ""
	}
	return out
}

// late is by how much the PHC leaves the straight line because the servo acts late, where its offset moved by so
// much: until then its rate is the one from before, unknown at first.
func (t *phcTracker) late(moved, interval time.Duration) time.Duration {
	change := moved.Abs() + t.moved.Or(interval*growthPPM/1_000_000)
	return time.Duration(float64(change) * min(1, float64(servoDelay)/float64(interval)))
}

// straight reports whether the PHC went along a straight line against the master from one Sync to the other:
// no Sync between them, no step of the PHC, no jump of the master.
func (a phcSync) straight(b phcSync, interval time.Duration) bool {
	gap := time.Duration(b.at - a.at)
	stepped := a.offset.Abs() > stepThreshold && (b.offset-a.offset).Abs() > a.offset.Abs()/2
	return gap > 0 && gap < interval*3/2 && !stepped && !a.jumped(b)
}

// jumped reports whether the master is elsewhere than the PHC can have gone.
func (a phcSync) jumped(b phcSync) bool {
	gap := time.Duration(b.at - a.at)
	return b.offset.Abs() > 2*a.offset.Abs()+gap.Abs()*growthPPM/1_000_000
}

// landed says where the master was at the first Sync after it jumped: nobody knows when between the two it
// did. The PHC, which was calm, is carried there at the rate of its newest readings.
func (t *phcTracker) landed(at phcSync, interval time.Duration) masterReading {
	a, b := t.recent[0], t.recent[1]
	far := at.at - b.Time
	carried := float64(far) * float64(b.offset()-a.offset()) / float64(max(b.At.Sub(a.At), 1))
	offset := b.offset() + time.Duration(math.Round(carried))
	hunting := time.Duration(float64(t.moved.Or(0)) * math.Abs(float64(far)) / float64(interval))
	return masterReading{timescale.Instant(at.at - int64(offset)), offset - at.offset, b.Window + t.late(0, interval) + hunting}
}

// line is PHC - master on the straight line between two Syncs, when the PHC shows at.
func (a phcSync) line(b phcSync, at int64) time.Duration {
	share := float64(at-a.at) / float64(b.at-a.at)
	return a.offset + time.Duration(math.Round(share*float64(b.offset-a.offset)))
}

// offset is the PHC's timescale - L.
func (r PHCReading) offset() time.Duration { return time.Duration(r.Time - int64(r.At)) }

// reading takes a reading of the PHC, which waits for the next Sync. A jump throws away what was known: two
// Syncs after it must tell where the master is.
func (t *phcTracker) reading(r PHCReading) {
	if n := len(t.recent); n > 0 {
		last := t.recent[n-1]
		moved := r.offset() - last.offset()
		drift := time.Duration(float64(r.At.Sub(last.At).Abs()) * maxPHCRatePPB * 1e-9)
		if moved.Abs() > jumpLimit+drift+r.Window+last.Window {
			t.jumped = moved
			t.restart(fmt.Sprintf("PHC jumped by %v, waiting for ptp4l to compare it with the master again", moved))
		}
	}
	t.recent = append(t.recent[max(0, len(t.recent)-1):], r)
	t.waiting = append(t.waiting, r)
	t.waiting = t.waiting[max(0, len(t.waiting)-waitingReadings):]
}

// judge takes in an offset for settled.
func (t *phcTracker) judge(offset time.Duration) {
	if offset.Abs() > settledOffset {
		t.unsettle()
		return
	}
	t.good++
	if n := len(t.offsets); n > 0 && (offset < 0) != (t.offsets[n-1] < 0) {
		t.crossings++
	}
	t.offsets = append(t.offsets, offset)
	t.offsets = t.offsets[max(0, len(t.offsets)-offsetWindow):]
}

func (t *phcTracker) unsettle() { t.good, t.crossings, t.offsets = 0, 0, nil }

// settled reports whether the PHC follows the master and is no longer on its way there.
func (t *phcTracker) settled() bool { return t.crossings >= settledCrossings || t.good >= settledPolls }

// spread is the largest of the newest offsets.
func (t *phcTracker) spread() time.Duration {
	var s time.Duration
	for _, o := range t.offsets {
		s = max(s, o.Abs())
	}
	return s
}

// restart forgets the Syncs.
func (t *phcTracker) restart(why string) {
	t.unsettle()
	t.newest, t.moved, t.why = sources.None[phcSync](), sources.None[time.Duration](), why
	t.waiting, t.recent = nil, nil
}

// lost forgets everything, after the device or ptp4l went away.
func (t *phcTracker) lost() { *t = phcTracker{} }

// activePort is the index of the port that follows the master, or -1.
func activePort(ports []PortStatus) int {
	for i, p := range ports {
		if active(p.Data.PortState) {
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
