package story

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/sources"
)

const (
	us = time.Microsecond
	ms = time.Millisecond
)

var (
	never = sources.None[time.Duration]()
	some  = sources.Some[time.Duration]
)

// series are points a second apart with these true errors.
func series(trueErrors ...time.Duration) []Point {
	points := make([]Point, 0, len(trueErrors))
	for i, e := range trueErrors {
		points = append(points, Point{At: time.Duration(i) * time.Second, TrueError: e})
	}
	return points
}

func TestAFigureIsMissedAboveItsLimitAndWhenItsEventNeverCame(t *testing.T) {
	for _, test := range []struct {
		rule   string
		got    sources.Optional[time.Duration]
		missed bool
	}{
		{"better", some(99 * us), false},
		{"just good enough", some(100 * us), false},
		{"worse", some(100*us + 1), true},
		{"never", never, true},
		{"at once", some(0), false},
	} {
		f := Figure{Chapter: "c", What: "w", Got: test.got, Limit: 100 * us}
		if f.Missed() != test.missed {
			t.Errorf("%s: %v", test.rule, f)
		}
		if got := len(Missed([]Figure{f, {Got: some(0)}})); (got == 1) != test.missed {
			t.Errorf("%s: %d figures missed", test.rule, got)
		}
	}
}

func TestAnErrorIsHeldSinceItWasLastExceeded(t *testing.T) {
	for _, test := range []struct {
		rule   string
		points []Point
		want   sources.Optional[time.Duration]
	}{
		{"no points", nil, never},
		{"from the first", series(1*us, -1*us), some(0)},
		{"after an excursion", series(1*us, 15*ms, 1*us, -100*us), some(2 * time.Second)},
		{"a negative error counts", series(-15*ms, 1*us), some(1 * time.Second)},
		{"not at the end", series(1*us, 101*us), never},
	} {
		if diff := cmp.Diff(test.want, heldSince(test.points, 100*us)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.rule, diff)
		}
	}
}

func TestSummariesOfTrueErrors(t *testing.T) {
	points := series(3*us, -4*us, 3*us, -4*us)
	for _, test := range []struct {
		what      string
		got, want sources.Optional[time.Duration]
	}{
		{"rms counts the mean too", rms(points), some(3535 * time.Nanosecond)},
		{"rms of nothing", rms(nil), never},
		{"worst is without a sign", worst(points), some(4 * us)},
		{"worst of nothing", worst(nil), never},
		{"farthest from a center", farthest(points, 1*us), some(5 * us)},
		{"mean keeps the sign", some(mean(points)), some(-500 * time.Nanosecond)},
		{"between leaves out the end", worst(between(points, 0, time.Second)), some(3 * us)},
		{"between has the beginning", worst(between(points, time.Second, 9*time.Second)), some(4 * us)},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, diff)
		}
	}
}

func TestAPromisedBoundIsKeptOrExceeded(t *testing.T) {
	promised := func(trueError, bound time.Duration) Point { return Point{TrueError: trueError, Bound: some(bound)} }
	for _, test := range []struct {
		rule   string
		points []Point
		want   sources.Optional[time.Duration]
	}{
		{"nothing promised", series(15 * ms), never},
		{"kept", []Point{promised(-3*us, 4*us), promised(4*us, 4*us)}, some(0)},
		{"exceeded", []Point{promised(-7*us, 4*us), promised(1*us, 4*us)}, some(3 * us)},
		{"an error without a promise does not count", append(series(15*ms), promised(1*us, 4*us)), some(0)},
	} {
		if diff := cmp.Diff(test.want, beyondBound(test.points)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.rule, diff)
		}
	}
}

func TestSpanHasFourDigitsAndAUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ns", -887: "-887 ns", 4950: "5.0 us", -15010 * us: "-15.010 ms", 2500 * ms: "2.5 s",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%d) = %q, want %q", d, got, want)
		}
	}
}
