package ptp

import (
	"math"
	"slices"
	"time"

	"clockarbiter/clock/timescale"
)

// The window of the rate estimate. Long enough that queueing of 10 us becomes less than 1 ppm, short
// enough that a crystal in a draught (1 ppm per degree) is followed.
const (
	rateMaxSyncs = 128
	rateMaxSpan  = 32 * time.Second
	rateMinSpan  = 500 * time.Millisecond
	// firstJitter is what the first two Syncs may have queued, where two are enough for a rate.
	firstJitter = 500 * time.Nanosecond
	// maxRatePPB is the largest believable rate of the master against L: 500 ppm for a bad crystal
	// here, as much for a master that is being slewed.
	maxRatePPB = 1_000_000
)

// rate is how fast the master's clock runs against L.
type rate struct {
	PPB float64 // positive: the master runs faster than L
	SD  float64 // one standard deviation, in ppb
}

// scale converts an interval on L to nanoseconds on the master's timescale.
func (r rate) scale(d time.Duration) float64 { return float64(d) * (1 + r.PPB*1e-9) }

// rateEstimator keeps the recent Syncs. The estimate is the median of slopes between Syncs half the
// window apart: as robust as Theil and Sen's against Syncs that queued, without its n^2 slopes.
type rateEstimator struct {
	minSyncs   int
	resolution time.Duration
	points     []ratePoint
}

type ratePoint struct {
	t1 int64
	t2 timescale.Instant
}

func (e *rateEstimator) add(t1 int64, t2 timescale.Instant) {
	e.points = append(e.points, ratePoint{t1, t2})
	first := max(0, len(e.points)-rateMaxSyncs)
	for t2.Sub(e.points[first].t2) > rateMaxSpan {
		first++
	}
	e.points = slices.Delete(e.points, 0, first)
}

// shift moves what is known of the master's time: it was stepped.
func (e *rateEstimator) shift(by int64) {
	for i := range e.points {
		e.points[i].t1 += by
	}
}

// rate is false until enough is known, or while what is known is not believable.
func (e *rateEstimator) rate() (rate, bool) {
	n := len(e.points)
	if n < e.minSyncs || e.points[n-1].t2.Sub(e.points[0].t2) < rateMinSpan {
		return rate{}, false
	}
	half := n / 2
	slopes := make([]float64, 0, n-half)
	for i := half; i < n; i++ {
		slopes = append(slopes, slopePPB(e.points[i-half], e.points[i]))
	}
	r := rate{PPB: median(slopes)}
	for i := range slopes {
		slopes[i] = math.Abs(slopes[i] - r.PPB)
	}
	// 1.48 MAD is a standard deviation, and a median's is 1.25 of a mean's. The slopes of
	// neighbours share their noise with no others, so n-half of them are independent.
	span := float64(e.points[n-1].t2.Sub(e.points[0].t2))
	r.SD = 1.25*1.48*median(slopes)/math.Sqrt(float64(len(slopes))) + 1e9*float64(e.resolution)/span
	if len(slopes) == 1 { // which shows no noise
		r.SD += 1e9 * float64(firstJitter) / span
	}
	return r, math.Abs(r.PPB) <= maxRatePPB
}

func slopePPB(a, b ratePoint) float64 {
	local := b.t2.Sub(a.t2)
	return 1e9 * float64(b.t1-a.t1-int64(local)) / float64(local)
}

// median reorders v, which must not be empty.
func median(v []float64) float64 {
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}
