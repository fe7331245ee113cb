package vm

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// Reading is the system clock against the truth at one instant.
type Reading struct {
	At time.Duration // CLOCK_MONOTONIC
	// Error is true UTC - CLOCK_REALTIME: positive means that the system clock is slow.
	Error time.Duration
	// Window is the half-width of the reading.
	Window time.Duration
	// Base is CLOCK_REALTIME - CLOCK_MONOTONIC: only a step changes it.
	Base time.Duration
	// Bound is the kernel's maxerror, which applications read. The kernel adds 500 us to it at each of its
	// seconds, until it is written again.
	Bound time.Duration
}

// Trace is a series of readings.
type Trace []Reading

// Measure reads the system clock against the truth once a second.
func (w World) Measure(t testing.TB, d time.Duration) Trace {
	t.Helper()
	return w.MeasureEvery(t, d, time.Second)
}

// MeasureEvery reads the system clock against the truth.
func (w World) MeasureEvery(t testing.TB, d, interval time.Duration) Trace {
	t.Helper()
	return parseTrace(t, w.guest.Run(t, fmt.Sprintf("gauge %s -interval %v -count %d", w.options.utc(), interval, int(d/interval))))
}

// StartTrace measures in the background until CollectTrace.
func (w World) StartTrace(t testing.TB, interval time.Duration) {
	t.Helper()
	w.guest.Run(t, fmt.Sprintf("gauge %s -interval %v -count 0 >/run/trace 2>&1 </dev/null & echo $! >/run/trace.pid", w.options.utc(), interval))
}

// CollectTrace ends StartTrace.
func (w World) CollectTrace(t testing.TB) Trace {
	t.Helper()
	return parseTrace(t, w.guest.Run(t, "kill $(cat /run/trace.pid); cat /run/trace"))
}

func parseTrace(t testing.TB, out string) Trace {
	t.Helper()
	var trace Trace
	for _, line := range lines(out) {
		var seconds float64
		var maxerror int64
		var r Reading
		if _, err := fmt.Sscanf(line, "%g %d %d %d %d", &seconds, &r.Error, &r.Window, &r.Base, &maxerror); err != nil {
			t.Fatalf("gauge said %q: %v", line, err)
		}
		r.At = time.Duration(seconds * 1e9)
		r.Bound = time.Duration(maxerror) * time.Microsecond
		trace = append(trace, r)
	}
	if len(trace) == 0 {
		t.Fatal("gauge said nothing")
	}
	return trace
}

// RMS of the error.
func (tr Trace) RMS() time.Duration {
	var sum float64
	for _, r := range tr {
		sum += float64(r.Error) * float64(r.Error)
	}
	return time.Duration(math.Sqrt(sum / float64(len(tr))))
}

// Max is the largest absolute error.
func (tr Trace) Max() time.Duration { return tr.Quantile(1) }

// Quantile is that of the absolute error.
func (tr Trace) Quantile(q float64) time.Duration {
	v := make([]time.Duration, len(tr))
	for i, r := range tr {
		v[i] = r.Error.Abs()
	}
	slices.Sort(v)
	return v[int(math.Ceil(q*float64(len(v))))-1]
}

// Broken are the readings whose error is larger than the kernel's maxerror.
func (tr Trace) Broken() Trace {
	var broken Trace
	for _, r := range tr {
		if r.Error.Abs() > r.Bound {
			broken = append(broken, r)
		}
	}
	return broken
}

// Steps counts the steps of the system clock.
func (tr Trace) Steps() int {
	// REALTIME and MONOTONIC are read one after the other.
	const noise = 2 * time.Microsecond
	n := 0
	for i := 1; i < len(tr); i++ {
		if (tr[i].Base - tr[i-1].Base).Abs() > noise {
			n++
		}
	}
	return n
}

// Within is the time from the first reading to the first of those after which all errors are within
// the limit. It is false when the last one is not.
func (tr Trace) Within(limit time.Duration) (time.Duration, bool) {
	for i := len(tr) - 1; i >= 0; i-- {
		if tr[i].Error.Abs() > limit {
			if i == len(tr)-1 {
				return 0, false
			}
			return tr[i+1].At - tr[0].At, true
		}
	}
	return 0, true
}

func (tr Trace) String() string {
	return fmt.Sprintf("n=%d rms=%v p99.9=%v max=%v first=%v last=%v steps=%d", len(tr), tr.RMS(), tr.Quantile(0.999), tr.Max(),
		tr[0].Error, tr[len(tr)-1].Error, tr.Steps())
}
