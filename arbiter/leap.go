package arbiter

import (
	"fmt"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// leapVotes counts announcements.
type leapVotes [3]int

// voteLeap lets the survivors vote on the leap second at the end of the month and on TAI - UTC. The leap
// is armed on its day only, so that a wrong announcement has a month to be corrected.
func (a *Arbiter) voteLeap(r *round, d *Decision) {
	leap := sources.LeapNone
	if a.mode == Locked {
		leap = r.announced()
		d.TAI = r.tai()
	}
	target, ok := d.Target.Get()
	if !ok || !lastDay(r.in.Now, target.Offset) {
		a.armed = sources.LeapNone
		return
	}
	if a.mode == Holdover {
		leap = a.armed // nobody is left to ask
	}
	d.Leap, a.armed = leap, leap
}

// announced is what more than half of the survivors that say anything announce.
func (r *round) announced() sources.Leap {
	var votes leapVotes
	total := 0
	for i := range r.views {
		if l, ok := r.views[i].leap(); ok {
			votes[l]++
			total++
		}
	}
	for l := sources.LeapInsert; l <= sources.LeapDelete; l++ {
		if votes[l] > 0 && votes[l] < total {
			r.fault(FaultLeap, "", fmt.Sprintf("%d of %d sources announce to %v a second at the end of the month", votes[l], total, l))
		}
		if 2*votes[l] > total {
			return l
		}
	}
	return sources.LeapNone
}

// leap is what a survivor announces.
func (v *view) leap() (sources.Leap, bool) {
	if v.report == nil || v.state < Settling || v.duplicate {
		return 0, false
	}
	l, ok := v.report.Quality.Leap.Get()
	return l, ok && l <= sources.LeapDelete
}

// tai is TAI - UTC as more than half of the survivors that flag it valid have it.
func (r *round) tai() sources.Optional[time.Duration] {
	var best sources.Optional[time.Duration]
	most, total := 0, 0
	for i := range r.views {
		offset, ok := r.views[i].utcOffset()
		if !ok {
			continue
		}
		total++
		if n := r.sharing(offset); n > most {
			best, most = sources.Some(offset), n
		}
	}
	if 2*most <= total {
		return sources.None[time.Duration]()
	}
	return best
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

// lastDay reports whether it is the last day of a month in UTC, on which alone a leap second can be.
func lastDay(now timescale.Instant, offset time.Duration) bool {
	utc := now.Add(offset).Near()
	return utc.AddDate(0, 0, 1).Day() == 1
}
