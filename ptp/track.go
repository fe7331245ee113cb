package ptp

import (
	"errors"
	"math"
	"slices"
	"time"

	"clockarbiter/clock/timescale"
)

// phcTrack places hardware timestamps, which are readings of a PHC, on L. ptp4l steers that PHC: it
// changes the rate right after each Sync, and steps where it is far off. Neither reaches what is measured,
// because the PHC is read often, and once more as soon as a timestamp is reported, a few milliseconds
// after it was taken: in between a rate hardly counts, and a step shows. Pure.
type phcTrack struct {
	readings []PHCReading // since the last step, oldest first
	// base is the newest reading that the rate was taken at; rate is that of the PHC - L before it.
	base  PHCReading
	rate  float64
	rated bool // rate is known
}

const (
	// trackMemory is how many readings are kept: some seconds of them.
	trackMemory = 32
	// rateBase is the least distance of two readings that say something of the rate.
	rateBase = 50 * time.Millisecond
	// phcStepLimit is the least deviation from where the rate leads to that is taken for a step. ptp4l steps
	// by 20 us and more (first_step_threshold), and a rate that changed by 500 ppm 10 ms ago makes 5 us. A
	// PHC that is slewed harder is taken for one that was stepped, which costs a timestamp or two.
	phcStepLimit = 10 * time.Microsecond
	// steepest is the rate of a PHC of which nothing else is known: ptp4l slews less than a millisecond
	// within a second.
	steepest = 2e-3
)

// errNotPlaced says that no readings of the PHC enclose a timestamp.
var errNotPlaced = errors.New("timestamp cannot be placed: the PHC was stepped or not read about then")

// offset is the PHC - L.
func (r PHCReading) offset() time.Duration { return time.Duration(r.Time - int64(r.At)) }

// observe takes a reading and returns by how much the PHC was stepped since the last one, 0 where it was
// not.
func (t *phcTrack) observe(r PHCReading) (stepped time.Duration) {
	if len(t.readings) == 0 {
		t.base = r
	} else if stepped = t.deviation(r); stepped != 0 {
		*t = phcTrack{base: r}
	}
	t.readings = append(t.readings, r)
	t.readings = slices.Delete(t.readings, 0, max(0, len(t.readings)-trackMemory))
	if dt := r.At.Sub(t.base.At); dt >= rateBase {
		t.rate, t.rated = slope(t.base, r), true
		t.base = r
	}
	return stepped
}

// deviation is how far r is from where the rate leads to, 0 where that is no step.
func (t *phcTrack) deviation(r PHCReading) time.Duration {
	dt := float64(r.At.Sub(t.base.At))
	off := r.offset() - t.base.offset() - time.Duration(math.Round(t.rate*dt))
	limit := phcStepLimit + r.Window + t.base.Window
	if !t.rated {
		limit += time.Duration(steepest * dt)
	}
	if off.Abs() <= limit && dt >= 0 {
		return 0
	}
	return off
}

// local returns the instant on L at which the PHC showed ns, with a half-width: that of the readings about it, and
// what a change of the PHC's rate between them makes of it.
func (t *phcTrack) local(ns int64) (at timescale.Instant, window time.Duration, err error) {
	i := slices.IndexFunc(t.readings, func(r PHCReading) bool { return r.Time >= ns })
	if i < 1 || !t.rated {
		return 0, 0, errNotPlaced
	}
	a, b := t.readings[i-1], t.readings[i]
	share := float64(ns-a.Time) / float64(b.Time-a.Time)
	at = a.At.Add(time.Duration(math.Round(share * float64(b.At.Sub(a.At)))))
	window = max(a.Window, b.Window)
	for _, o := range slices.Backward(t.readings[:i-1]) {
		if a.At.Sub(o.At) >= rateBase && b.At.After(a.At) {
			window += time.Duration(math.Abs(slope(a, b)-slope(o, a)) * float64(at.Sub(a.At)))
			break
		}
	}
	return at, window, nil
}

// slope is the rate of the PHC against L between two readings.
func slope(a, b PHCReading) float64 { return float64(b.offset()-a.offset()) / float64(b.At.Sub(a.At)) }
