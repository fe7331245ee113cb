package story

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/sources"
)

// Figure is one measured result against its limit.
type Figure struct {
	// Chapter and What name the figure for a person.
	Chapter, What string
	// Got is what was measured, absent where the event that it measures never came.
	Got sources.Optional[time.Duration]
	// Limit is the largest Got that is good enough.
	Limit time.Duration
}

// Missed reports whether the figure is worse than its limit. What never came is.
func (f Figure) Missed() bool {
	got, ok := f.Got.Get()
	return !ok || got > f.Limit
}

// String is the figure in one line.
func (f Figure) String() string {
	verdict := "ok"
	if f.Missed() {
		verdict = "MISSED"
	}
	got := "never"
	if d, ok := f.Got.Get(); ok {
		got = Span(d)
	}
	return fmt.Sprintf("%s: %s: %s (limit %s) %s", f.Chapter, f.What, got, Span(f.Limit), verdict)
}

// Missed lists those of the figures that are worse than their limits.
func Missed(figures []Figure) []Figure {
	var missed []Figure
	for _, f := range figures {
		if f.Missed() {
			missed = append(missed, f)
		}
	}
	return missed
}

// Point is one observation of the supervisor.
type Point struct {
	// At is when the supervisor made the observation, since the story began.
	At time.Duration
	// TrueError is CLOCK_REALTIME - the steered clock. Positive: the steered clock is slow.
	TrueError time.Duration
	// Bound is what the supervisor had published as the largest error of the steered clock, absent while it
	// followed nothing.
	Bound sources.Optional[time.Duration]
}

// beyondBound is by how much the true error ever exceeded what the supervisor promised: 0 when it kept its
// promise, absent when it never made one.
func beyondBound(points []Point) sources.Optional[time.Duration] {
	excess := sources.None[time.Duration]()
	for _, p := range points {
		if bound, ok := p.Bound.Get(); ok {
			excess = sources.Some(max(excess.Or(0), p.TrueError.Abs()-bound))
		}
	}
	return excess
}

// heldSince is the earliest instant from which on every true error is at most limit in size, absent when
// the last one is not.
func heldSince(points []Point, limit time.Duration) sources.Optional[time.Duration] {
	since := sources.None[time.Duration]()
	for _, p := range points {
		switch {
		case p.TrueError.Abs() > limit:
			since = sources.None[time.Duration]()
		case !since.Present():
			since = sources.Some(p.At)
		}
	}
	return since
}

// rms is the root of the mean square of the true errors, absent without points.
func rms(points []Point) sources.Optional[time.Duration] {
	if len(points) == 0 {
		return sources.None[time.Duration]()
	}
	sum := 0.0
	for _, p := range points {
		sum += float64(p.TrueError) * float64(p.TrueError)
	}
	return sources.Some(time.Duration(math.Sqrt(sum / float64(len(points)))))
}

// worst is the largest size of a true error, absent without points.
func worst(points []Point) sources.Optional[time.Duration] {
	return farthest(points, 0)
}

// farthest is the largest distance of a true error from center, absent without points.
func farthest(points []Point, center time.Duration) sources.Optional[time.Duration] {
	if len(points) == 0 {
		return sources.None[time.Duration]()
	}
	var far time.Duration
	for _, p := range points {
		far = max(far, (p.TrueError - center).Abs())
	}
	return sources.Some(far)
}

// mean is the mean true error, 0 without points.
func mean(points []Point) time.Duration {
	if len(points) == 0 {
		return 0
	}
	var sum time.Duration
	for _, p := range points {
		sum += p.TrueError
	}
	return sum / time.Duration(len(points))
}

// between are the points from from on until before to.
func between(points []Point, from, to time.Duration) []Point {
	var in []Point
	for _, p := range points {
		if p.At >= from && p.At < to {
			in = append(in, p)
		}
	}
	return in
}

// Span is a time with three or four significant digits.
func Span(d time.Duration) string {
	s := float64(d)
	switch a := d.Abs(); {
	case a < time.Microsecond:
		return fmt.Sprintf("%.0f ns", s)
	case a < time.Millisecond:
		return fmt.Sprintf("%.1f us", s/1e3)
	case a < time.Second:
		return fmt.Sprintf("%.3f ms", s/1e6)
	default:
		return fmt.Sprintf("%.1f s", s/1e9)
	}
}
