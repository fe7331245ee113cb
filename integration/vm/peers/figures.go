package peers

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/integration/sim"
	"clockarbiter/integration/vm"
)

// Taus are the observation intervals of MTIE and TDEV.
var Taus = []time.Duration{time.Second, 10 * time.Second, 100 * time.Second}

const (
	// within is the error that a start has to reach, and stays the time that it must last.
	within = time.Microsecond
	stays  = time.Minute
)

// Figures are those of one run, in ns unless said. What was not measured is NaN.
type Figures struct {
	Start          float64 // s from the start of the peer until the error stays within 1 us
	RMS, P999, Max float64 // locked
	MTIE, TDEV     []float64
	After          float64 // largest error after the fault
	Steps          int     // of CLOCK_REALTIME, all of the run
	CPU            float64 // s per hour, locked
	Memory         int     // bytes
	Named          float64 // s
}

// FiguresOf reduces a run.
func FiguresOf(r Run) Figures {
	f := nothing()
	f.Start, f.Steps, f.Memory = StartOf(r), r.Trace.Steps(), r.Memory
	if locked := Series(r.Trace, r.Locked, r.Fault); len(locked.Values) > 100 {
		f.RMS, f.P999, f.Max = locked.RMS(), locked.Percentile(0.999), locked.Max()
		for _, tau := range Taus {
			n := int(math.Round(float64(tau) / float64(locked.Interval)))
			f.MTIE, f.TDEV = append(f.MTIE, locked.MTIE(n)), append(f.TDEV, locked.TDEV(n))
		}
		f.CPU = r.CPU.Seconds() / (r.Fault - r.Locked).Hours()
	}
	if after := Series(r.Trace, r.Fault, forever); len(after.Values) > 100 {
		f.After = after.Max()
	}
	if r.Named >= 0 {
		f.Named = r.Named.Seconds()
	}
	return f
}

const forever = time.Duration(math.MaxInt64)

// Series is system clock - UTC in the part of a trace between two of its instants. The readings are
// taken as equally spaced: each comes a fraction of a millisecond late.
func Series(tr vm.Trace, from, to time.Duration) sim.Series {
	var s sim.Series
	var first, last time.Duration
	for _, r := range tr {
		if r.At < from || r.At >= to {
			continue
		}
		if len(s.Values) == 0 {
			first = r.At
		}
		last = r.At
		s.Values = append(s.Values, -float64(r.Error))
	}
	if n := len(s.Values); n > 1 {
		s.Interval = sim.Elapsed(last-first) / sim.Elapsed(n-1)
	}
	return s
}

// StartOf is the time from the start of the peer to the first instant from which the error stays within a
// microsecond for a minute, in s; NaN: it does not before the fault.
func StartOf(r Run) float64 {
	since, inside := time.Duration(0), false
	for _, reading := range r.Trace {
		switch {
		case reading.At >= r.Fault:
			return math.NaN()
		case reading.Error.Abs() > within:
			inside = false
		case !inside:
			since, inside = reading.At, true
		case reading.At-since >= stays:
			return (since - r.Began).Seconds()
		}
	}
	return math.NaN()
}

func (f Figures) String() string {
	return fmt.Sprintf("start %.1f s, RMS %.1f ns, 99.9 %% %.0f, max %.0f, MTIE %.0f, TDEV %.1f, after %.0f ns, %d steps, CPU %.1f s/h, %d KiB, named %.1f s",
		f.Start, f.RMS, f.P999, f.Max, f.MTIE, f.TDEV, f.After, f.Steps, f.CPU, f.Memory/1024, f.Named)
}

// Floor is what the readings of a clock that nobody adjusts show about a straight line: RMS and largest,
// in ns. NaN without readings.
func Floor(r Run) (rms, most float64) {
	s := Series(r.Trace, 0, forever)
	n := float64(len(s.Values))
	if n < 3 {
		return math.NaN(), math.NaN()
	}
	var sx, sy, sxx, sxy float64
	for i, y := range s.Values {
		x := r.Trace[i].At.Seconds() - r.Trace[0].At.Seconds()
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope := (n*sxy - sx*sy) / (n*sxx - sx*sx)
	for i := range s.Values {
		x := r.Trace[i].At.Seconds() - r.Trace[0].At.Seconds()
		s.Values[i] -= (sy-slope*sx)/n + slope*x
	}
	return s.RMS(), s.Max()
}

func nothing() Figures {
	nan := math.NaN()
	return Figures{Start: nan, RMS: nan, P999: nan, Max: nan, After: nan, CPU: nan, Named: nan}
}
