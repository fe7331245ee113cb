package arbiter

import (
	"fmt"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// leaping is what is remembered of the leap second of the day.
type leaping struct {
	// armed is the leap second that was armed last.
	armed sources.Leap
	// at is the midnight at which it is due, 0 while none is armed.
	at timescale.Instant
	// asked is set while the survivors were asked on this last day of a month.
	asked bool
}

const (
	// leapHold is how long before and after an armed leap second no correction is made: where UTC is on
	// L is ambiguous by a second until the kernel has leapt and every source has shown that it did.
	leapHold = 2 * time.Second
	// leapNotice is how long before a leap second sources must announce it: PTP announces it 12 h before
	// (IEEE 1588-2019, 8.2.4), and some NTP servers do not before the day.
	leapNotice = 12 * time.Hour
)

// leapVotes counts announcements.
type leapVotes [3]int

// voteLeap lets the survivors and the leap second table vote on the leap second at the end of the month
// and on TAI - UTC. More than half of all votes win, and the table's vote breaks a tie. The leap is armed
// on its day only, so that a wrong announcement has a month to be corrected.
func (a *Arbiter) voteLeap(r *round, d *Decision) {
	target, ok := d.Target.Get()
	utc := r.in.Now.Add(target.Offset)
	a.nameTable(r, utc)
	if a.leapIsDue(r) {
		d.Leap, d.Hold = a.leap.armed, true
		return
	}
	if !ok {
		a.leap = leaping{}
		return
	}
	leap := sources.LeapNone
	if a.mode == Locked {
		leap = a.announced(r, utc)
		d.TAI = a.tai(r, utc)
	}
	if !lastDay(utc) {
		a.leap = leaping{}
		return
	}
	switch {
	case a.mode == Locked:
		a.leap.asked = true
	case a.mode == Holdover && a.leap.asked:
		leap = a.leap.armed // nobody is left to ask
	case a.mode == Holdover:
		leap = a.table.leap(utc).Or(sources.LeapNone)
	}
	a.leap.armed, a.leap.at = leap, 0
	if leap != sources.LeapNone {
		a.leap.at = monthEnd(utc)
	}
	d.Leap = leap
}

// leapIsDue reports whether the kernel performs the armed leap second now, by its own clock. It stays armed
// meanwhile: a clock that is late by a microsecond has yet to leap when the sources are in the next month.
func (a *Arbiter) leapIsDue(r *round) bool {
	return a.leap.at != 0 && magnitude(r.in.Now.Add(r.in.System).Sub(a.leap.at)) <= leapHold
}

// announced is the outcome of the vote on the leap second.
func (a *Arbiter) announced(r *round, utc timescale.Instant) sources.Leap {
	var votes leapVotes
	said := 0
	for i := range r.views {
		if l, ok := r.views[i].leap(); ok {
			votes[l]++
			said++
		}
	}
	known := a.table.leap(utc)
	r.nameLeaps(votes, said, known, monthEnd(utc).Sub(utc))
	casting, total := sources.LeapNone, said
	if l, ok := known.Get(); ok {
		votes[l]++
		casting, total = l, said+1
	}
	for l := sources.LeapInsert; l <= sources.LeapDelete; l++ {
		if 2*votes[l] > total || 2*votes[l] == total && total > 0 && l == casting {
			return l
		}
	}
	return sources.LeapNone
}

// nameLeaps names survivors that contradict each other or the table; left is the time to the end of the
// month.
func (r *round) nameLeaps(votes leapVotes, said int, known sources.Optional[sources.Leap], left time.Duration) {
	table, asked := known.Get()
	for l := sources.LeapInsert; l <= sources.LeapDelete; l++ {
		switch {
		case votes[l] > 0 && votes[l] < said:
			r.fault(FaultLeap, "", fmt.Sprintf("%d of %d sources announce to %v a second at the end of the month", votes[l], said, l))
		case votes[l] > 0 && asked && table != l:
			r.fault(FaultLeap, "", fmt.Sprintf("%d of %d sources announce to %v a second at the end of the month, and the leap second table does not", votes[l], said, l))
		case asked && table == l && votes[l] < said && left <= leapNotice:
			r.fault(FaultLeap, "", fmt.Sprintf("the leap second table has to %v a second at the end of this day, and %d of %d sources do not announce it", l, said-votes[l], said))
		}
	}
}

// leap is what a survivor announces.
func (v *view) leap() (sources.Leap, bool) {
	if v.report == nil || v.state < Settling || v.duplicate {
		return 0, false
	}
	l, ok := v.report.Quality.Leap.Get()
	return l, ok && l <= sources.LeapDelete
}

// tai is the outcome of the vote on TAI - UTC among the survivors that flag theirs valid, and the table.
func (a *Arbiter) tai(r *round, utc timescale.Instant) sources.Optional[time.Duration] {
	best, known := a.table.tai(utc), a.table.tai(utc)
	most, total := 0, 0
	if offset, ok := known.Get(); ok {
		most, total = r.sharing(offset)+1, 1
	}
	for i := range r.views {
		offset, ok := r.views[i].utcOffset()
		if !ok {
			continue
		}
		total++
		if known.Present() && !known.Is(offset) {
			r.fault(FaultLeap, r.views[i].ID, fmt.Sprintf("it flags TAI - UTC of %v as valid, the leap second table has %v", offset, known))
		}
		n := r.sharing(offset)
		if known.Is(offset) {
			n++
		}
		if n > most {
			best, most = sources.Some(offset), n
		}
	}
	if 2*most > total || 2*most == total && known.Present() && best == known {
		return best
	}
	return sources.None[time.Duration]()
}

func (r *round) sharing(offset time.Duration) int {
	n := 0
	for i := range r.views {
		if o, ok := r.views[i].utcOffset(); ok && o == offset {
			n++
		}
	}
	return n
}

// utcOffset is what a survivor flags as valid.
func (v *view) utcOffset() (time.Duration, bool) {
	if v.report == nil || v.state < Settling || v.duplicate {
		return 0, false
	}
	return v.report.Quality.UTCOffset.Get()
}

// lastDay reports whether it is the last day of a month, on which alone a leap second can be.
func lastDay(utc timescale.Instant) bool { return utc.Near().AddDate(0, 0, 1).Day() == 1 }
