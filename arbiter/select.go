package arbiter

import (
	"fmt"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// The rules that decide. Decision.Rule names the one that did.
const (
	RuleNoSource     = "no-source"      // no source is usable
	RuleNoMajority   = "no-majority"    // the sources contradict each other
	RuleDisagreement = "disagreement"   // two contradict each other, with no third
	RuleWitness      = "witness"        // two contradict each other, and one of them jumped against L
	RuleMinSources   = "min-sources"    // fewer truechimers than configured
	RuleRequire      = "require"        // no required source survives
	RuleSettling     = "settling"       // the usable sources are too new
	RuleBest         = "best"           // nothing was followed: the best source is taken
	RuleIncumbent    = "incumbent"      // the followed source stays
	RuleHardLoss     = "hard-loss"      // the followed source was lost: the next is taken at once
	RuleDegradation  = "degradation"    // the followed source has worsened for long enough
	RuleImprovement  = "improvement"    // another was better for long enough
	RuleReturned     = "returned"       // the source that an earlier run followed is heard again
	RuleAgreement    = "step-agreement" // a step is needed and others have yet to agree
	RulePanic        = "panic"          // the error is larger than will be corrected
)

// timers measure how long a change has been wanted.
type timers struct {
	beaten   sources.Optional[timescale.Instant] // since when a challenger has beaten the incumbent
	degraded sources.Optional[timescale.Instant] // since when the incumbent has been Jittery or Distant
	best     float64                             // the incumbent's best score since it was selected
}

// choose picks the source to follow, or none.
func (a *Arbiter) choose(r *round) {
	incumbent := r.find(a.selected)
	if a.hindered(r, incumbent) {
		return
	}
	switch {
	case incumbent == nil && a.selected.Present():
		r.pickBest(RuleHardLoss, fmt.Sprintf("%v is gone", a.selected))
	case incumbent == nil:
		r.pickBest(RuleBest, "the best of those that may be followed")
	case incumbent.state == Selectable:
		a.defend(r, incumbent)
	case a.tolerated(r, incumbent):
		a.waitDegraded(r, incumbent)
	default:
		r.pickBest(RuleHardLoss, fmt.Sprintf("%s is %v: %s", incumbent.ID, incumbent.state, incumbent.reason))
	}
}

// hindered handles the rounds in which the sources as a whole cannot be followed.
func (a *Arbiter) hindered(r *round, incumbent *view) bool {
	truechimers, required, requires := 0, 0, false
	for i := range r.views {
		v := &r.views[i]
		requires = requires || v.Options.Require
		if v.state == Settling || v.state == Selectable {
			truechimers++
			if v.Options.Require {
				required++
			}
		}
	}
	switch {
	case r.vote.voters > 0 && !r.vote.majority():
		a.contradiction(r, incumbent)
	case r.vote.voters > 0 && truechimers < a.cfg.MinSources:
		r.none(RuleMinSources, fmt.Sprintf("truechimers: %d, needed: %d", truechimers, a.cfg.MinSources))
	case r.vote.voters > 0 && requires && required == 0:
		r.none(RuleRequire, "no required source is a truechimer")
	default:
		return false
	}
	return true
}

func (r *round) none(rule, reason string) { r.chosen, r.rule, r.reason = nil, rule, reason }

func (r *round) take(v *view, rule, reason string) { r.chosen, r.rule, r.reason = v, rule, reason }

// pickBest takes the best source or says why there is none; why is the reason for looking.
func (r *round) pickBest(rule, why string) {
	if len(r.ranked) > 0 {
		best := r.ranked[0]
		r.take(best, rule, fmt.Sprintf("%s: %s; %s", best.ID, interval(best), why))
		return
	}
	if rule == RuleBest {
		why = "no source may be followed"
	}
	rule = RuleNoSource
	if r.vote.voters > 0 {
		rule = RuleSettling
		why += fmt.Sprintf("; of %d with a vote none has settled", r.vote.voters)
	}
	r.none(rule, why)
}

// tolerated reports whether a worsened incumbent may be kept for a while: it is only Jittery or
// Distant, and no majority contradicts it.
func (a *Arbiter) tolerated(r *round, v *view) bool {
	return (v.state == Jittery || v.state == Distant) && (r.vote.voters == 0 || r.vote.touches(v))
}

// waitDegraded keeps a worsened incumbent for DegradationHold.
func (a *Arbiter) waitDegraded(r *round, v *view) {
	since := a.timers.degraded.Or(r.in.Now)
	a.timers.degraded = sources.Some(since)
	held := age(r.in.Now, since)
	why := fmt.Sprintf("%s is %v: %s", v.ID, v.state, v.reason)
	if held >= a.cfg.DegradationHold {
		r.pickBest(RuleDegradation, why)
		return
	}
	left := show(a.cfg.DegradationHold - held)
	r.take(v, RuleIncumbent, fmt.Sprintf("%s; kept for another %v", why, left))
	r.change = fmt.Sprintf("%s is left in %v unless it recovers", v.ID, left)
}

// defend weighs a sound incumbent against the best challenger.
func (a *Arbiter) defend(r *round, incumbent *view) {
	a.timers.degraded = sources.None[timescale.Instant]()
	if a.timers.best == 0 || incumbent.score < a.timers.best {
		a.timers.best = incumbent.score
	}
	best := r.ranked[0]
	if !a.beats(best, incumbent) {
		a.timers.beaten = sources.None[timescale.Instant]()
		r.take(incumbent, RuleIncumbent, fmt.Sprintf("%s: %s; no other is better by a factor of %.3g",
			incumbent.ID, interval(incumbent), a.cfg.Hysteresis))
		return
	}
	since := a.timers.beaten.Or(r.in.Now)
	a.timers.beaten = sources.Some(since)
	rule, hold := a.holdFor(best, incumbent)
	if a.returned(best, r.in.Now) {
		rule, hold = RuleReturned, 0
	}
	why := fmt.Sprintf("%s scores %s, %s scores %s", best.ID, showScore(best.score), incumbent.ID, showScore(incumbent.score))
	if best.Options.Prefer && !incumbent.Options.Prefer {
		why = fmt.Sprintf("%s is preferred", best.ID)
	}
	if a.late(best, r.in.Now) {
		r.take(best, RuleImprovement, why+"; it settled after the choice at the start")
		return
	}
	if held := age(r.in.Now, since); held < hold {
		left := show(hold - held)
		r.take(incumbent, RuleIncumbent, fmt.Sprintf("%s; %s stays for another %v", why, incumbent.ID, left))
		r.change = fmt.Sprintf("%s is selected in %v if it stays better", best.ID, left)
		return
	}
	r.take(best, rule, fmt.Sprintf("%s, for %v", why, hold))
}

// beats reports whether the challenger is better by more than the hysteresis, or preferred.
func (a *Arbiter) beats(challenger, incumbent *view) bool {
	if challenger == incumbent {
		return false
	}
	if challenger.Options.Prefer != incumbent.Options.Prefer {
		return challenger.Options.Prefer
	}
	return challenger.score*max(1, a.cfg.Hysteresis) < incumbent.score
}

// late reports whether the source came late to the start: who settled first was taken, and one that settles
// within ImprovementHold after that was not there to be chosen, and need not wait.
func (a *Arbiter) late(v *view, now timescale.Instant) bool {
	first, ok := a.follow.first.Get()
	return ok && age(now, first) < a.cfg.ImprovementHold && v.rec.settled.Or(first) > first
}

// holdFor tells a worsened incumbent from an improved challenger: the incumbent has degraded when its
// own score is worse than its best by the hysteresis.
func (a *Arbiter) holdFor(challenger, incumbent *view) (string, time.Duration) {
	if challenger.Options.Prefer == incumbent.Options.Prefer && incumbent.score > a.timers.best*max(1, a.cfg.Hysteresis) {
		return RuleDegradation, a.cfg.DegradationHold
	}
	return RuleImprovement, a.cfg.ImprovementHold
}

func showScore(s float64) string { return show(time.Duration(s * 1e9)).String() }
