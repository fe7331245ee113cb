package clock

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// virtualLeap is the kernel's leap second machine (kernel/time/ntp.c, second_overflow): armed by STA_INS or
// STA_DEL, it moves the clock at the end of the clock's own day, and TAI - UTC with it, and then waits for
// the flag to be cleared (TIME_WAIT) before it can be armed again.
type virtualLeap struct {
	flag    sources.Leap      // as last written
	pending sources.Leap      // TIME_INS or TIME_DEL
	due     timescale.Instant // midnight, by the clock
	waiting bool              // TIME_OOP and TIME_WAIT
}

// never is what a step makes of the midnight that was waited for: ntp_clear forgets it, and it stays
// forgotten until the flag was cleared.
const never = timescale.Instant(math.MaxInt64)

// write takes the flag of a command; clock is what the clock shows.
func (l *virtualLeap) write(flag sources.Leap, clock timescale.Instant, stepped bool) {
	l.flag = flag
	if l.waiting {
		l.waiting = flag != sources.LeapNone
		return
	}
	if stepped && l.pending != sources.LeapNone {
		l.due = never
	}
	if flag != l.pending {
		l.pending = sources.LeapNone
	}
	if flag != sources.LeapNone && l.pending == sources.LeapNone {
		day := clock.Near().Truncate(24*time.Hour).AddDate(0, 0, 1)
		l.pending, l.due = flag, timescale.Instant(day.UnixNano())
	}
}

// overflow performs a pending leap second if the clock has come to it by the instant at.
func (v *Virtual) overflow(at timescale.Instant) {
	l := &v.leap
	by := leapStep(l.pending)
	if by == 0 || l.due == never {
		return
	}
	from := l.due
	if by > 0 {
		from = l.due.Add(-by) // the last second of the day is left out
	}
	last := v.pieces[len(v.pieces)-1]
	if at.Add(last.rounded(at)).Before(from) {
		return
	}
	// The instant on L at which the clock shows from: the piece runs at 1 + rate.
	left := float64(from.Sub(last.from.Add(last.base))) - last.frac
	when := last.from.Add(time.Duration(math.Ceil(left / (1 + last.ratePPB*1e-9))))
	v.extend(max(when, last.from), by)
	v.tai -= int(by / time.Second)
	l.pending, l.waiting = sources.LeapNone, true
}
