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
		a.unteach()
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
	a.thermal.feel(r.in.Now, r.in.Temperature, a.mode == Locked && !a.doubt, est)
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

// extrapolated is the held target at present. What temperature and ageing make of it shifts it, and widens
// its bound by as much, so that the interval that is promised always has in it the one without them. A sensor
// that was proven and is silent now widens it by what the temperature may be doing.
func (a *Arbiter) extrapolated(r *round) sources.Estimate {
	est := a.follow.est.Project(r.in.Now)
	phase, rate, unknown := a.thermal.predict(r.in.Now, r.in.Temperature)
	if shift := nanoseconds(phase); shift != 0 || rate != 0 || unknown != 0 {
		est.Offset = subtract(est.Offset, -shift)
		est.FreqPPB = max(-maxRate, min(maxRate, est.FreqPPB+rate))
		est.Bound = min(est.Bound+magnitude(shift)+nanoseconds(unknown), maxMagnitude)
	}
	return est
}

// heldOver is the last target, extrapolated, with a bound that reaches from now on to where a majority says that UTC is: a
// part of that where the target is one that nobody has refuted, all of it where its source has been found to lie. They may not
// be settled enough to be followed, but to promise less would be to know better than they.
func (a *Arbiter) heldOver(r *round) sources.Estimate {
	est := a.extrapolated(r)
	middle := subtract(est.Offset, r.in.System)
	touches := subtract(middle, est.Bound) <= r.vote.hi && subtract(middle, -est.Bound) >= r.vote.lo
	if r.vote.voters == 0 || !r.vote.majority() || touches && !a.follow.refuted || r.loneJump() {
		return est
	}
	far := max(magnitude(subtract(r.vote.lo, middle)), magnitude(subtract(r.vote.hi, middle)))
	wider := max(0, min(far, maxMagnitude)-est.Bound)
	a.follow.est.Bound = min(a.follow.est.Bound+wider, maxMagnitude)
	est.Bound = min(est.Bound+wider, maxMagnitude)
	return est
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
