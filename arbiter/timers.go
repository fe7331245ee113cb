package arbiter

import (
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// The waits that a decision lists.
const (
	TimerImprovement = "improvement" // Source, which is better, is selected when it is over
	TimerDegradation = "degradation" // Source, which has worsened, is left when it is over
	TimerAgreement   = "agreement"   // a step at start waits for others to agree
	TimerHoldover    = "holdover"    // holdover ends by its time limit; by its bound it may end before
	TimerQuarantine  = "quarantine"  // Source, which moved, is taken for corrected when it is over
)

// Timer is a wait that is running: what happens when Left is over, if nothing else changes.
type Timer struct {
	Name   string
	Source sources.ID // empty for a wait of no source in particular
	Left   time.Duration
}

// running lists the waits, in the order of the constants, those of sources in the order of their IDs.
func (a *Arbiter) running(r *round) []Timer {
	var list []Timer
	add := func(name string, id sources.ID, since timescale.Instant, hold time.Duration) {
		list = append(list, Timer{Name: name, Source: id, Left: max(0, hold-age(r.in.Now, since))})
	}
	if since, ok := a.timers.beaten.Get(); ok && r.chosen != nil && len(r.ranked) > 0 && r.ranked[0] != r.chosen {
		_, hold := a.holdFor(r.ranked[0], r.chosen)
		add(TimerImprovement, r.ranked[0].ID, since, hold)
	}
	if since, ok := a.timers.degraded.Get(); ok && r.chosen != nil {
		add(TimerDegradation, r.chosen.ID, since, a.cfg.DegradationHold)
	}
	if since, ok := a.step.waiting.Get(); ok && r.rule == RuleAgreement {
		add(TimerAgreement, "", since, a.cfg.Step.AgreementWait)
	}
	if since, ok := a.follow.holding.Get(); ok {
		add(TimerHoldover, "", since, a.cfg.HoldoverMaxTime)
	}
	for i := range r.views {
		if v := &r.views[i]; v.rec.moved != nil && !v.duplicate {
			add(TimerQuarantine, v.ID, v.rec.moved.since, a.cfg.Quarantine)
		}
	}
	return list
}
