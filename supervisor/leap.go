package supervisor

import (
	"fmt"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// LeapStatus is what is known of leap seconds, and what the kernel is told.
type LeapStatus struct {
	// Table is the leap-seconds.list in use, empty without one; Problem says why it has no vote.
	Table   string `json:"table"`
	Problem string `json:"problem"`
	// Expires is when the table ends, Newest its newest leap second and TAIOffset what it has TAI - UTC
	// at since.
	Expires   sources.Optional[time.Time]     `json:"expires"`
	Newest    sources.Optional[time.Time]     `json:"newest"`
	TAIOffset sources.Optional[time.Duration] `json:"tai_offset_ns"`
	// Armed is the leap second at the end of this day, Held is set while it is performed.
	Armed sources.Leap `json:"armed"`
	Held  bool         `json:"held"`
}

func leapStatus(t arbiter.LeapTable, d arbiter.Decision) LeapStatus {
	st := LeapStatus{Table: t.Path, Problem: t.Problem, Armed: d.Leap, Held: d.Hold}
	if n := len(t.Seconds); n > 0 {
		st.Expires, st.Newest = sources.Some(utc(t.Expires)), sources.Some(utc(t.Seconds[n-1].At))
		st.TAIOffset = sources.Some(t.Seconds[n-1].TAI)
	}
	return st
}

func utc(i timescale.Instant) time.Time { return i.Near().UTC() }

// consult makes a leap second table the one in use.
func (l *loop) consult(t arbiter.LeapTable) {
	l.state.table = t
	l.tape.Table(t)
	l.arbiter.Consult(t)
	l.record.leapTable(t)
}

// leapTable journals which leap second table is in use, or why none is.
func (r recorder) leapTable(t arbiter.LeapTable) {
	e := Entry{Priority: PriorityInfo, ID: MessageLeapTable, Fields: map[string]string{"EVENT": "leap-table"}}
	switch n := len(t.Seconds); {
	case t.Problem != "":
		e.Priority, e.Message = PriorityWarning, "No leap second table: "+t.Problem
		if t.Path != "" {
			e.Message = fmt.Sprintf("Leap second table %s not used: %s", t.Path, t.Problem)
		}
	case n == 0:
		e.Message = "No leap second table is used, as configured"
	default:
		e.Message = fmt.Sprintf("Leap second table %s: valid until %s, TAI - UTC is %v since %s", t.Path,
			utc(t.Expires).Format(time.DateOnly), t.Seconds[n-1].TAI, utc(t.Seconds[n-1].At).Format(time.DateOnly))
	}
	e.Fields["REASON"] = e.Message
	r.write(e)
}
