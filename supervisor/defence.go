package supervisor

import (
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/sources"
)

// stance is how the owner stands to others who write to its clock.
type stance uint8

const (
	// defending: what a stranger does is put right at once.
	defending stance = iota
	// holding: nothing is written until strangers are quiet.
	holding
	// yielded: nothing is written any more.
	yielded
)

// String is the word for status and journal.
func (s stance) String() string { return [...]string{"defending", "holding", "yielded"}[s] }

// maxQuiet bounds how long strangers must be quiet for a hold to end.
const maxQuiet = 24 * time.Hour

// defence decides between putting right and letting go. Values in, values out: it touches no clock. It
// cannot oscillate: within one quiet time the clock is put right a bounded number of times, and each hold
// that is broken makes the next last twice as long.
type defence struct {
	answer   string
	attempts int
	quiet    time.Duration

	stance stance
	since  timescale.Instant // of the stance
	made   int               // attempts since it was last quiet
	holds  int               // in a row, each broken by a stranger soon after
	last   sources.Optional[timescale.Instant]
}

func newDefence(c configs.Clock) defence {
	return defence{answer: c.ForeignWrite, attempts: c.ForeignAttempts, quiet: c.ForeignQuiet.Std()}
}

// intruded takes note of strangers at an instant and returns whether the stance changed.
func (d *defence) intruded(now timescale.Instant) bool {
	d.last = sources.Some(now)
	if d.stance != defending {
		return false
	}
	switch {
	case d.answer == "yield":
		d.enter(yielded, now)
	case d.answer == "hold" || d.made >= d.attempts:
		d.enter(holding, now)
	default:
		d.made++
		return false
	}
	return true
}

// calm takes note of an instant without strangers and returns whether the stance changed.
func (d *defence) calm(now timescale.Instant) bool {
	last, ok := d.last.Get()
	if !ok || d.stance == yielded {
		return false
	}
	quietFor := now.Sub(last)
	if d.stance == defending {
		if quietFor >= d.quiet {
			d.made = 0
		}
		if quietFor >= d.patience() {
			d.holds, d.last = 0, sources.None[timescale.Instant]()
		}
		return false
	}
	if quietFor < d.patience() {
		return false
	}
	d.enter(defending, now)
	return true
}

// patience is how long strangers must be quiet now.
func (d *defence) patience() time.Duration {
	p := d.quiet
	for range d.holds {
		if p = 2 * p; p >= maxQuiet {
			return maxQuiet
		}
	}
	return p
}

// enter changes the stance. A hold that ends counts until it has been quiet for as long again.
func (d *defence) enter(s stance, now timescale.Instant) {
	if d.stance == holding && s == defending {
		d.holds, d.made = d.holds+1, 0
		d.last = sources.Some(now)
	}
	d.stance, d.since = s, now
}
