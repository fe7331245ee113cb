package supervisor

import (
	"testing"
	"time"
)

func TestLimitsAreInStatusAndInTheJournalWhenTheyAreViolated(t *testing.T) {
	r := newRig(t)
	r.run(30 * time.Second)
	st, _ := r.snapshot()
	if len(st.Limits) != 3 || st.Limits[0].LimitNS != 100*time.Microsecond || st.Limits[0].Violated || !st.Limits[0].LeftNS.Present() {
		t.Fatalf("limits %+v", st.Limits)
	}
	left := st.Limits[0].LeftNS.Or(0)
	for _, p := range r.plan.Sources {
		r.silent[p.ID] = true
	}
	r.run(left + 10*time.Second)
	if got := r.journal.messages(MessageLimitViolated); !contains(got, "Limit of 100µs violated: the error of the clock is bounded by") {
		t.Errorf("after %v without a source the journal has %v", left, got)
	}
	if st, _ := r.snapshot(); !st.Limits[0].Violated || st.Limits[2].Violated {
		t.Errorf("limits %+v", st.Limits)
	}
	for _, p := range r.plan.Sources {
		r.silent[p.ID] = false
	}
	r.run(time.Minute)
	if got := r.journal.messages(MessageLimitMet); !contains(got, "Limit of 100µs met again") {
		t.Errorf("with all sources back the journal has %v", got)
	}
}
