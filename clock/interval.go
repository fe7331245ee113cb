package clock

import "time"

// interval is where a value lies for certain. Reading a clock between two readings of another bounds
// their difference, so what follows from intervals holds however long the reader was interrupted.
type interval struct{ lo, hi time.Duration }

// interval is where the difference lies; the nanosecond is what both readings were cut to.
func (d Difference) interval() interval {
	return interval{d.Value - d.Window - 1, d.Value + d.Window + 1}
}

func (i interval) disjoint(j interval) bool { return i.hi < j.lo || j.hi < i.lo }

// and returns what both allow. They must not be disjoint.
func (i interval) and(j interval) interval { return interval{max(i.lo, j.lo), min(i.hi, j.hi)} }

// moved returns i + by.
func (i interval) moved(by interval) interval { return interval{i.lo + by.lo, i.hi + by.hi} }

// to returns how far a value went that was in i and is in j.
func (i interval) to(j interval) interval { return interval{j.lo - i.hi, j.hi - i.lo} }

func (i interval) mid() time.Duration       { return i.lo + (i.hi-i.lo)/2 }
func (i interval) halfWidth() time.Duration { return (i.hi - i.lo + 1) / 2 }

// near reports whether the interval may hold v.
func (i interval) near(v time.Duration) bool { return i.lo <= v && v <= i.hi }

func exactly(d time.Duration) interval { return interval{d, d} }
