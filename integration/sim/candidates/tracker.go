package candidates

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/integration/sim"
	"clockarbiter/sources"
)

// Tracker is the estimator of the daemon itself.
type Tracker struct{ tracker *sources.Tracker }

// NewTracker returns the daemon's estimator.
func NewTracker() *Tracker {
	return &Tracker{tracker: sources.NewTracker(sources.TrackerConfig{Kind: sources.PTP})}
}

// Reading takes one reading.
func (t *Tracker) Reading(at, offset float64) {
	t.tracker.Add(sources.Sample{At: instant(at), Offset: time.Duration(math.Round(offset))})
}

// Clock returns the estimate.
func (t *Tracker) Clock(at float64) float64 {
	e, _ := t.tracker.Estimate(instant(at))
	return float64(e.Offset)
}

func instant(at float64) timescale.Instant { return sim.Epoch.Add(time.Duration(math.Round(at))) }
