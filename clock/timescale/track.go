package timescale

import (
	"errors"
	"math"
	"sort"
	"time"
)

// What Local answers when it has no instant to give.
var (
	// ErrAmbiguous: the clock may have shown this reading at more than one instant, because it was
	// stepped about then.
	ErrAmbiguous = errors.New("reading is ambiguous: the clock was stepped about then")
	// ErrOutOfReach: the reading is too old, too far ahead, or was skipped by a step.
	ErrOutOfReach = errors.New("reading is out of reach of the observations")
)

const (
	// maxSlope is the largest rate, dimensionless, at which the clock may move against L without a
	// step: 500 ppm that the kernel's frequency allows, and as much again by its tick length or by
	// adjtime.
	maxSlope = 1000e-6
	// minSpacing is the least distance between two kept observations of a clock that was not
	// stepped; closer ones hold no news.
	minSpacing = time.Millisecond
	// slopeBase is how far apart the two observations behind an extrapolated slope are, where the
	// record allows it.
	slopeBase = 50 * time.Millisecond
	// slopeError is the largest error, dimensionless, that the windows of two observations may give
	// to an extrapolated slope; a worse one is not used.
	slopeError = 20e-6
	// rounding is by how much two lines through one observation may differ about where it is.
	rounding = 2 * time.Nanosecond
)

// Observation is one reading of a clock against L.
type Observation struct {
	// At is the instant on L in the middle of the reading.
	At Instant
	// Offset is the clock - L. Positive: the clock is ahead of L.
	Offset time.Duration
	// Window is the half-width of the reading: the largest error of Offset.
	Window time.Duration
}

// reading returns what the clock showed.
func (o Observation) reading() int64 { return int64(o.At) + int64(o.Offset) }

// Track is a bounded record of a clock against L: a piecewise linear function with a discontinuity
// wherever two observations cannot belong to a clock that was only slewed. A Track is not safe for
// concurrent use and is not copied.
type Track struct {
	ring  []Observation
	first int // index in ring of the oldest observation
	count int
	reach time.Duration
}

// NewTrack returns an empty record that keeps the newest capacity observations, at least two, and
// extrapolates up to reach beyond the oldest and the newest.
func NewTrack(capacity int, reach time.Duration) *Track {
	return &Track{ring: make([]Observation, max(capacity, 2)), reach: reach}
}

// Observe adds an observation and reports whether it was kept. One that is not later than the
// newest is ignored, as is one that follows the newest at once and shows no step.
func (t *Track) Observe(o Observation) bool {
	if newest, ok := t.Newest(); ok {
		if !o.At.After(newest.At) {
			return false
		}
		if o.At.Sub(newest.At) < minSpacing && continuous(newest, o) {
			return false
		}
	}
	if t.count == len(t.ring) {
		t.first = (t.first + 1) % len(t.ring)
		t.count--
	}
	t.ring[(t.first+t.count)%len(t.ring)] = o
	t.count++
	return true
}

// Newest returns the latest observation that was kept; false when there is none.
func (t *Track) Newest() (Observation, bool) {
	if t.count == 0 {
		return Observation{}, false
	}
	return t.at(t.count - 1), true
}

// OffsetAt returns the clock - L at an instant. It reports false between two observations with a
// step between them, and out of reach of the record.
func (t *Track) OffsetAt(i Instant) (time.Duration, bool) {
	gap := sort.Search(t.count, func(k int) bool { return t.at(k).At.After(i) })
	lines, n := t.lines(gap)
	if n != 1 || !lines[0].covers(i) {
		return 0, false
	}
	return lines[0].offset(i), true
}

// Local returns the instant on L at which the clock showed clockNS, in nanoseconds since the Unix
// epoch. The error is ErrAmbiguous or ErrOutOfReach.
func (t *Track) Local(clockNS int64) (Instant, error) {
	var found Instant
	var hits int
	for gap := 0; gap <= t.count; gap++ {
		if t.excludes(gap, clockNS) {
			continue
		}
		lines, n := t.lines(gap)
		for _, l := range lines[:n] {
			i, ok := l.solve(clockNS)
			if !ok || (hits > 0 && i.Sub(found).Abs() <= rounding) {
				continue // the same instant, from the gap next door
			}
			found, hits = i, hits+1
		}
	}
	switch hits {
	case 0:
		return 0, ErrOutOfReach
	case 1:
		return found, nil
	default:
		return 0, ErrAmbiguous
	}
}

// at returns the k-th observation, oldest first.
func (t *Track) at(k int) Observation {
	i := t.first + k
	if i >= len(t.ring) {
		i -= len(t.ring)
	}
	return t.ring[i]
}

// excludes reports, at little cost, that the clock cannot have shown clockNS in gap k: most gaps
// have no step and lie elsewhere.
func (t *Track) excludes(k int, clockNS int64) bool {
	if k == 0 || k == t.count {
		return false
	}
	a, b := t.at(k-1), t.at(k)
	return (clockNS < a.reading()-1 || clockNS > b.reading()+1) && continuous(a, b)
}

// lines returns the n lines that the clock may have followed in the gap before observation k: one,
// or two where a step lies somewhere in between. Gap 0 precedes the oldest observation, and gap
// count follows the newest.
func (t *Track) lines(k int) (lines [2]line, n int) {
	switch {
	case t.count == 0:
		return lines, 0
	case k == 0:
		o := t.at(0)
		lines[0] = line{from: o.At.Add(-t.reach), to: o.At, anchor: o, slope: t.slopeAfter(0)}
		return lines, 1
	case k == t.count:
		o := t.at(k - 1)
		lines[0] = line{from: o.At, to: o.At.Add(t.reach + 1), anchor: o, slope: t.slopeBefore(k - 1)}
		return lines, 1
	}
	a, b := t.at(k-1), t.at(k)
	if continuous(a, b) {
		lines[0] = line{from: a.At, to: b.At, anchor: a, slope: slope(a, b)}
		return lines, 1
	}
	lines[0] = line{from: a.At, to: b.At, anchor: a, slope: t.slopeBefore(k - 1)}
	lines[1] = line{from: a.At, to: b.At, anchor: b, slope: t.slopeAfter(k)}
	return lines, 2
}

// slopeBefore returns the slope with which the record reached observation k: that of the newest
// observations up to k with no step between them that are far enough apart to tell. Without any,
// it is the slope that follows, and 0 where nothing is known.
func (t *Track) slopeBefore(k int) float64 {
	if s, ok := t.search(k, -1); ok {
		return s
	}
	s, _ := t.search(k, +1)
	return s
}

// slopeAfter is slopeBefore in the other direction.
func (t *Track) slopeAfter(k int) float64 {
	if s, ok := t.search(k, +1); ok {
		return s
	}
	s, _ := t.search(k, -1)
	return s
}

// search walks from observation k in steps of dir (-1 older, +1 newer) to the first two
// observations with no step between them that give a slope.
func (t *Track) search(k, dir int) (float64, bool) {
	start := k
	for j := k + dir; j >= 0 && j < t.count; j += dir {
		older, newer := t.at(min(j, j-dir)), t.at(max(j, j-dir))
		if !continuous(older, newer) {
			start = j
			continue
		}
		a, b := t.at(min(start, j)), t.at(max(start, j))
		if b.At.Sub(a.At) >= slopeBase && known(a, b) {
			return slope(a, b), true
		}
	}
	return 0, false
}

// known reports whether the windows of a and b leave a slope worth extrapolating.
func known(a, b Observation) bool {
	return float64(a.Window+b.Window) <= slopeError*float64(b.At.Sub(a.At))
}

// continuous reports whether a clock that was only slewed can have shown a and then b.
func continuous(a, b Observation) bool {
	moved := math.Abs(float64(b.Offset - a.Offset))
	return moved <= maxSlope*float64(b.At.Sub(a.At))+float64(a.Window+b.Window)
}

// slope returns the rate of the clock - L between a and b, dimensionless.
func slope(a, b Observation) float64 {
	return float64(b.Offset-a.Offset) / float64(b.At.Sub(a.At))
}

// line is the clock - L as a linear function on [from, to).
type line struct {
	from, to Instant
	anchor   Observation
	slope    float64
}

// covers reports whether i lies on the line.
func (l line) covers(i Instant) bool { return !i.Before(l.from) && i.Before(l.to) }

// offset returns the clock - L at i.
func (l line) offset(i Instant) time.Duration {
	return l.anchor.Offset + time.Duration(math.Round(l.slope*float64(i.Sub(l.anchor.At))))
}

// solve returns the instant on the line at which the clock showed clockNS. It takes in the end of
// the line and a nanosecond about it, so that rounding loses no reading between two lines.
func (l line) solve(clockNS int64) (Instant, bool) {
	elapsed := float64(clockNS-l.anchor.reading()) / (1 + l.slope)
	if math.Abs(elapsed) > float64(l.to.Sub(l.from))+1 {
		return 0, false // and may not fit an Instant
	}
	i := l.anchor.At.Add(time.Duration(math.Round(elapsed)))
	return i, !i.Before(l.from-1) && !i.After(l.to+1)
}
