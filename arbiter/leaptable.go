package arbiter

import (
	"fmt"
	"slices"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// LeapTable is what the host's leap-seconds.list says. It is evidence like a source's word: one vote on
// the leap second at the end of the month and on TAI - UTC, and the one that breaks a tie.
type LeapTable struct {
	// Path is the file; empty: there is none.
	Path string
	// Problem says why it has no vote; empty: it was read, and its hash is right.
	Problem string
	// Expires is the instant of UTC from which it no longer knows what was decided.
	Expires timescale.Instant
	// Seconds are the leap seconds, the oldest first.
	Seconds []LeapSecond
}

// LeapSecond is one entry: TAI - UTC from an instant of UTC on.
type LeapSecond struct {
	At  timescale.Instant
	TAI time.Duration
}

// tableWarning is how long before its end a table is named: two Bulletins C are months apart, and an
// update takes its time to reach a host.
const tableWarning = 60 * 24 * time.Hour

// Consult takes the leap second table to be used from the next step on.
func (a *Arbiter) Consult(t LeapTable) {
	t.Seconds = slices.Clone(t.Seconds)
	a.table = t
}

// votes reports whether the table may be asked about an instant of UTC.
func (t *LeapTable) votes(utc timescale.Instant) bool {
	return t.Path != "" && t.Problem == "" && utc < t.Expires && len(t.Seconds) > 0 && utc >= t.Seconds[0].At
}

// next is the index of the first leap second after utc, the number of all where there is none.
func (t *LeapTable) next(utc timescale.Instant) int {
	for i := range t.Seconds {
		if t.Seconds[i].At > utc {
			return i
		}
	}
	return len(t.Seconds)
}

// tai is TAI - UTC at an instant for which it votes.
func (t *LeapTable) tai(utc timescale.Instant) sources.Optional[time.Duration] {
	if !t.votes(utc) {
		return sources.None[time.Duration]()
	}
	return sources.Some(t.Seconds[t.next(utc)-1].TAI)
}

// leap is what happens at the end of the month of an instant for which the table votes.
func (t *LeapTable) leap(utc timescale.Instant) sources.Optional[sources.Leap] {
	if !t.votes(utc) {
		return sources.None[sources.Leap]()
	}
	i := t.next(utc)
	if i == len(t.Seconds) || t.Seconds[i].At != monthEnd(utc) {
		return sources.Some(sources.LeapNone)
	}
	if t.Seconds[i].TAI < t.Seconds[i-1].TAI {
		return sources.Some(sources.LeapDelete)
	}
	return sources.Some(sources.LeapInsert)
}

// monthEnd is the first instant of the next month.
func monthEnd(utc timescale.Instant) timescale.Instant {
	y, m, _ := utc.Near().Date()
	return timescale.Instant(time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
}

// nameTable tells a table that is refused, near its end, or beyond it.
func (a *Arbiter) nameTable(r *round, utc timescale.Instant) {
	t := &a.table
	left := subtract(time.Duration(t.Expires), time.Duration(utc))
	switch {
	case t.Path == "":
	case t.Problem != "":
		r.fault(FaultTable, "", t.Path+": "+t.Problem)
	case left <= 0:
		r.fault(FaultTable, "", fmt.Sprintf("%s expired on %s: it has no vote, and a leap second could be missed", t.Path, date(t.Expires)))
	case left < tableWarning:
		r.fault(FaultTable, "", fmt.Sprintf("%s expires on %s", t.Path, date(t.Expires)))
	}
}
