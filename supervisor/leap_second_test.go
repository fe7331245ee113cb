package supervisor

import (
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

func TestALeapSecondPassesWithoutAnybodyBeingBlamed(t *testing.T) {
	r := newRig(t)
	midnight := timescale.Instant(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	r.start = midnight.Add(-90 * time.Second)
	r.at = r.start
	r.consult(arbiter.LeapTable{Path: "/table", Expires: midnight.Add(300 * 24 * time.Hour), Seconds: []arbiter.LeapSecond{
		{At: midnight.Add(-3650 * 24 * time.Hour), TAI: 37 * time.Second}, {At: midnight, TAI: 38 * time.Second},
	}})
	r.run(60 * time.Second)
	reading, err := r.virtual.Read()
	if st, _ := r.snapshot(); err != nil || st.Leap.Armed != sources.LeapInsert || reading.Leap != sources.LeapInsert || reading.TAIOffset != 37 {
		t.Fatalf("half a minute before: status %+v, the kernel is armed for %v with TAI - UTC %d", st.Leap, reading.Leap, reading.TAIOffset)
	}
	for r.at.Add(r.truth()) < midnight {
		r.run(r.interval)
	}
	for _, p := range r.plan.Sources {
		r.lie[p.ID] = -time.Second // UTC is what it was a second ago
	}
	before := len(r.journal.entries)
	for r.at.Add(r.truth()-time.Second) < midnight.Add(-200*time.Millisecond) {
		r.run(r.interval)
	}
	if st, _ := r.snapshot(); !st.Leap.Held {
		t.Errorf("within the leap second: %+v", st.Leap)
	}
	r.run(60 * time.Second)
	if st, _ := r.snapshot(); st.Mode != "locked" || st.Selected.Or("") != "ptp:veth0:0" {
		t.Errorf("after it %s to %s: %s", st.Mode, st.Selected, st.Decision.Reason)
	}
	if e := (r.trueError() - time.Second).Abs(); e > 5*time.Microsecond {
		t.Errorf("after it the clock is off by %v", e)
	}
	reading, err = r.virtual.Read()
	if err != nil || reading.Leap != sources.LeapNone || reading.TAIOffset != 38 {
		t.Errorf("after it the kernel is armed for %v with TAI - UTC %d, %v", reading.Leap, reading.TAIOffset, err)
	}
	if got := r.journal.messages(MessageKernelMove); len(got) != 1 {
		t.Errorf("moves of the kernel in the journal: %v", got)
	}
	for _, e := range r.journal.entries[before:] {
		if e.ID == MessageForeignWrite || e.ID == MessageStepped || e.ID == MessageFaultRaised && e.Fields["TO"] != arbiter.FaultLeap {
			t.Errorf("entry %s", e.Message)
		}
	}
}
