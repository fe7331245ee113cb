package supervisor

import (
	"strings"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

func TestTheLeapTableGoesToArbiterStatusAndJournal(t *testing.T) {
	r := newRig(t)
	// The rig's clock is in September 2026.
	table := arbiter.LeapTable{Path: "/table", Expires: r.start.Add(30 * 24 * time.Hour), Seconds: []arbiter.LeapSecond{
		{At: timescale.Instant(time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()), TAI: 37 * time.Second},
	}}
	r.consult(table)
	r.run(20 * time.Second)
	st, _ := r.snapshot()
	if st.Leap.Table != "/table" || !st.Leap.TAIOffset.Is(37*time.Second) || !st.Leap.Expires.Present() || st.Leap.Armed != sources.LeapNone {
		t.Errorf("status %+v", st.Leap)
	}
	if !contains(st.Decision.Faults, "leap-table: /table expires on") {
		t.Errorf("faults %v", st.Decision.Faults)
	}
	if reading, err := r.virtual.Read(); err != nil || reading.TAIOffset != 37 {
		t.Errorf("TAI - UTC of the clock %d, %v", reading.TAIOffset, err)
	}
	r.consult(arbiter.LeapTable{Path: "/table", Problem: "its hash does not match"})
	r.consult(arbiter.LeapTable{Problem: "there is none"})
	r.consult(arbiter.LeapTable{})
	want := []string{"valid until 2026-10", "/table not used: its hash", "No leap second table: there is none", "as configured"}
	got := r.journal.messages(MessageLeapTable)
	if len(got) != len(want) {
		t.Fatalf("journal %v", got)
	}
	for i, text := range want {
		if !strings.Contains(got[i], text) {
			t.Errorf("entry %q, want %q in it", got[i], text)
		}
	}
}
