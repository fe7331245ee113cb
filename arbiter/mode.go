package arbiter

import (
	"fmt"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// unlockFactor is the hysteresis of Locked: it ends at this multiple of the error at which it began.
const unlockFactor = 4

// following is what holdover needs of the past.
type following struct {
	// est is the target of the last decision that followed a source, has tells whether there is
	// one to hold over from.
	est sources.Estimate
	has bool
	// refuted is set where the source of est was voted a liar: est may be as wrong as it was.
	refuted bool
	// locked is set for good when the clock was locked for the first time: the start is over.
	locked bool
	// first is when a source was followed for the first time.
	first sources.Optional[timescale.Instant]
	// holding is when holdover began.
	holding sources.Optional[timescale.Instant]
}

// switchTo makes the choice the selection.
func (a *Arbiter) switchTo(r *round) {
	old := r.find(a.selected)
	if r.chosen == old && old != nil {
		old.state, old.reason = Selected, r.reason
		return
	}
	if !a.selected.Present() && r.chosen == nil {
		return
	}
	// One that jumped lied from then on; est is from before.
	a.follow.refuted = old != nil && old.state == Falseticker && old.rec.moved == nil && !old.rec.jumped
	if old != nil && old.state < Selectable {
		old.rec.losses++
		old.rec.lastLoss = r.in.Now
	}
	event := Event{Kind: SelectionChanged, From: string(a.selected.Or("")), Reason: r.rule + ": " + r.reason}
	a.timers = timers{}
	a.selected = sources.None[sources.ID]()
	if v := r.chosen; v != nil {
		v.state, v.reason = Selected, r.reason
		a.selected = sources.Some(v.ID)
		event.Source, event.To = v.ID, string(v.ID)
		event.Offset, event.Bound = sources.Some(v.offset), sources.Some(v.bound)
	}
	r.events = append(r.events, event)
}

// steer sets mode and target.
func (a *Arbiter) steer(r *round, d *Decision) {
	before, why := a.mode, r.reason
	if r.chosen != nil {
		why = a.pursue(r, d)
	} else {
		a.teacher = ""
		why = detail(a.holdOver(r, d), why)
	}
	if a.mode != before {
		e := Event{Kind: ModeChanged, From: before.String(), To: a.mode.String(), Reason: why, Bound: d.Bound}
		if target, ok := d.Target.Get(); ok {
			e.Offset = sources.Some(subtract(target.Offset, r.in.System))
		}
		r.events = append(r.events, e)
	}
}

// pursue makes the chosen source's estimate the target, and says what is behind a change of mode.
func (a *Arbiter) pursue(r *round, d *Decision) string {
	est := a.target(r, d)
	a.follow.est, a.follow.has, a.follow.refuted = est, true, false
	a.follow.first = sources.Some(a.follow.first.Or(r.in.Now))
	a.follow.holding = sources.None[timescale.Instant]()
	d.Target, d.Bound = sources.Some(est), sources.Some(est.Bound)
	a.watchRate(r, est)

	limit := max(a.cfg.LockThreshold, est.Bound)
	if a.mode == Locked {
		limit = min(limit, maxMagnitude/unlockFactor) * unlockFactor
	}
	off := magnitude(subtract(est.Offset, r.in.System))
	before := a.mode
	a.mode = Acquiring
	if off <= limit && !d.Step.Present() {
		a.mode, a.follow.locked = Locked, true
	}
	if a.mode == before {
		return ""
	}
	return fmt.Sprintf("system clock is %v off %s, limit %v", show(off), r.chosen.ID, show(limit))
}

// holdOver extrapolates the last target with its frequency and a bound that grows, within limits.
func (a *Arbiter) holdOver(r *round, d *Decision) string {
	if !a.follow.has {
		a.mode = FreeRunning
		return "no source has been followed"
	}
	since := a.follow.holding.Or(r.in.Now)
	a.follow.holding = sources.Some(since)
	est := a.heldOver(r)
	limit := a.cfg.holdoverLimit(a.follow.est.Bound)
	held := age(r.in.Now, since)
	if est.Bound > limit || held > a.cfg.HoldoverMaxTime {
		a.mode, a.follow.has = FreeRunning, false
		a.follow.holding = sources.None[timescale.Instant]()
		return fmt.Sprintf("holdover ended after %v with a bound of %v; limits %v, %v",
			show(held), show(est.Bound), a.cfg.HoldoverMaxTime, show(limit))
	}
	if r.rule == RulePanic && magnitude(subtract(est.Offset, r.in.System)) > a.cfg.Step.Panic {
		a.mode = FreeRunning
		return "the clock is further from the held target than the panic threshold; it keeps its rate"
	}
	a.mode = Holdover
	d.Target, d.Bound = sources.Some(est), sources.Some(est.Bound)
	return fmt.Sprintf("held for %v with a bound of %v", show(held), show(est.Bound))
}

// heldOver is the last target, projected, with a bound that reaches from now on to where a majority says that UTC is: a
// part of that where the target is one that nobody has refuted, all of it where its source has been found to lie. They may not
// be settled enough to be followed, but to promise less would be to know better than they.
func (a *Arbiter) heldOver(r *round) sources.Estimate {
	est := a.follow.est.Project(r.in.Now)
	middle := subtract(est.Offset, r.in.System)
	touches := subtract(middle, est.Bound) <= r.vote.hi && subtract(middle, -est.Bound) >= r.vote.lo
	if r.vote.voters == 0 || !r.vote.majority() || touches && !a.follow.refuted || r.loneJump() {
		return est
	}
	far := max(magnitude(subtract(r.vote.lo, middle)), magnitude(subtract(r.vote.hi, middle)))
	a.follow.est.Bound = min(a.follow.est.Bound+max(0, min(far, maxMagnitude)-est.Bound), maxMagnitude)
	return a.follow.est.Project(r.in.Now)
}

// loneJump reports whether all that speaks is one source that has itself just jumped.
func (r *round) loneJump() bool {
	for i := range r.views {
		if v := &r.views[i]; v.state == Settling && !v.rec.jumped {
			return false
		}
	}
	return r.vote.depth < 2
}

// holdoverLimit keeps a host whose sources are worse than the limit from losing its target at the first
// gap.
func (c Config) holdoverLimit(entry time.Duration) time.Duration {
	return max(c.HoldoverMaxBound, 2*min(entry, maxMagnitude/2))
}
