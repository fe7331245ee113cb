package arbiter

import (
	"fmt"
	"slices"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// stepPause is the least time between two steps, so that a step that is on its way is never ordered
// again on an observation of the system clock from before it.
const stepPause = time.Second

// stepping is what the step policy remembers.
type stepping struct {
	waiting sources.Optional[timescale.Instant] // since when a step at start waits for agreement
	last    sources.Optional[timescale.Instant] // when the last step was ordered
	refused bool                                // the refusal has been reported
}

// stepOrWait orders a step where one is needed, permitted and agreed on; at start it withholds the
// source for a bounded time until others agree, so that the clock is stepped once and rightly.
func (a *Arbiter) stepOrWait(r *round, d *Decision) {
	p := a.cfg.Step
	if r.chosen == nil || magnitude(r.chosen.offset) <= p.Threshold || p.Threshold <= 0 {
		if r.chosen != nil {
			a.step.refused, a.step.waiting = false, sources.None[timescale.Instant]()
		}
		return
	}
	if a.follow.locked && p.Panic > 0 && magnitude(r.chosen.offset) > p.Panic {
		a.panic(r)
		return
	}
	if permitted := a.follow.locked && p.WhenRunning || !a.follow.locked && p.AtStart; !permitted {
		a.refuse(r, "the policy permits no step now; the clock is slewed")
		return
	}
	agreement, needed := r.agreement(), min(max(1, p.MinAgreement), r.independent())
	if len(agreement) < needed {
		a.await(r, fmt.Sprintf("%d independent sources stand behind it %v, %d are needed", len(agreement), agreement, needed))
		return
	}
	a.order(r, d, agreement)
}

// panic refuses to follow an error that no working oscillator produces.
func (a *Arbiter) panic(r *round) {
	const remedy = "check the sources and the clock; a restart of the service steps if sources agree"
	why := fmt.Sprintf("%s wants %v, more than the panic threshold of %v", r.chosen.ID, show(r.chosen.offset), a.cfg.Step.Panic)
	r.fault(FaultPanic, r.chosen.ID, why)
	a.refuse(r, why+"; "+remedy)
	r.none(RulePanic, why)
	r.change = remedy
}

// await waits for agreement at start, and after the wait follows without a step.
func (a *Arbiter) await(r *round, why string) {
	since := a.step.waiting.Or(r.in.Now)
	a.step.waiting = sources.Some(since)
	if waited := age(r.in.Now, since); !a.follow.has && waited < a.cfg.Step.AgreementWait {
		left := show(a.cfg.Step.AgreementWait - waited)
		r.none(RuleAgreement, fmt.Sprintf("%s wants a step of %v: %s", r.chosen.ID, show(r.chosen.offset), why))
		r.change = fmt.Sprintf("agreement of more sources, or %v more without it: then the clock is slewed", left)
		return
	}
	a.refuse(r, why+"; the clock is slewed")
}

// refuse reports once that a needed step is not made.
func (a *Arbiter) refuse(r *round, why string) {
	if !a.step.refused {
		r.events = append(r.events, Event{
			Kind: StepRefused, Source: r.chosen.ID, Reason: why,
			Offset: sources.Some(r.chosen.offset), Bound: sources.Some(r.chosen.bound),
		})
	}
	a.step.refused = true
}

// order puts the step into the decision.
func (a *Arbiter) order(r *round, d *Decision, agreement []sources.ID) {
	if last, ok := a.step.last.Get(); ok && age(r.in.Now, last) < stepPause {
		return
	}
	a.step.last, a.step.refused = sources.Some(r.in.Now), false
	d.Step, d.Agreement = sources.Some(r.chosen.offset), agreement
	a.local.system = subtract(a.local.system, -r.chosen.offset)
	r.events = append(r.events, Event{
		Kind: StepOrdered, Source: r.chosen.ID, Reason: fmt.Sprintf("%v agree", agreement),
		Offset: sources.Some(r.chosen.offset), Bound: sources.Some(r.chosen.bound),
	})
}

// agreement lists the independent sources behind a step: the chosen one, and each truechimer whose
// bound is smaller than the step, since a wider one would agree with no step as well.
func (r *round) agreement() []sources.ID {
	step := magnitude(r.chosen.offset)
	groups, ids := []string{r.chosen.independence()}, []sources.ID{r.chosen.ID}
	for i := range r.views {
		v := &r.views[i]
		truechimer := v.state == Settling || v.state == Selectable
		if v == r.chosen || !truechimer || v.bound >= step || slices.Contains(groups, v.independence()) {
			continue
		}
		groups, ids = append(groups, v.independence()), append(ids, v.ID)
	}
	slices.Sort(ids)
	return ids
}

// independent counts the independent sources that are configured and may vote, heard or not.
func (r *round) independent() int {
	var groups []string
	for i := range r.views {
		if v := &r.views[i]; !v.Options.NoSelect && !slices.Contains(groups, v.independence()) {
			groups = append(groups, v.independence())
		}
	}
	return len(groups)
}

// independence names what a source depends on: as configured, else the grandmaster of a PTP source,
// else itself.
func (v *view) independence() string {
	if v.Options.Independence != "" {
		return "shared " + v.Options.Independence
	}
	if v.report != nil && v.Kind == sources.PTP && v.report.Quality.Reference != "" {
		return "grandmaster " + v.report.Quality.Reference
	}
	return "source " + string(v.ID)
}
