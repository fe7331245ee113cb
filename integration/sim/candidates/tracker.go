package candidates

import (
	"time"

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
	t.tracker.Add(sources.Sample{At: sim.Epoch.Add(time.Duration(at)), Offset: time.Duration(offset)})
}

// Clock returns the estimate.
func (t *Tracker) Clock(at float64) float64 {
	e, ok := t.tracker.Estimate(sim.Epoch.Add(time.Duration(at)))
	if !ok {
		return 0
	}
	return float64(e.Offset)
}
