package arbiter

import (
	"slices"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// conclude completes the decision: identity, reason, verdicts in the order of the candidates, and the
// transitions since the last one.
func (a *Arbiter) conclude(r *round, d *Decision) {
	a.number++
	d.Number, d.Mode, d.Selected = a.number, a.mode, a.selected
	d.Rule, d.Reason, d.Change = r.rule, r.reason, r.changes()
	d.Timers = a.running(r)
	d.Thermal = a.thermal.report(a.mode == Holdover)
	d.Verdicts = make([]Verdict, len(r.views))
	for i := range r.views {
		v := &r.views[i]
		d.Verdicts[v.index] = a.verdict(v, r.in.Now)
		r.events = a.reportState(v, r.events)
	}
	d.Events = append(r.events, a.reportFaults(r.faults)...)
	d.Faults = slices.Clone(r.faults)
	a.faults = r.faults
}

func (a *Arbiter) verdict(v *view, now timescale.Instant) Verdict {
	out := Verdict{ID: v.ID, State: v.state, Reason: v.reason}
	if v.has {
		out.Offset, out.Bound = sources.Some(v.offset), sources.Some(v.bound)
	}
	if b, old, ok := a.biasOf(v, now); ok && b.Offset != 0 {
		out.Bias, out.BiasAge = sources.Some(b.Offset), sources.Some(old)
	}
	if v.has && v.state >= Selectable {
		out.Score = sources.Some(v.score)
	}
	return out
}

// reportState adds an event where a source has another state than in the last decision.
func (a *Arbiter) reportState(v *view, events []Event) []Event {
	if v.rec.state == v.state || v.duplicate {
		return events
	}
	from := ""
	if v.rec.state != 0 {
		from = v.rec.state.String()
	}
	v.rec.state = v.state
	e := Event{Kind: SourceStateChanged, Source: v.ID, From: from, To: v.state.String(), Reason: v.reason}
	if v.has {
		e.Offset, e.Bound = sources.Some(v.offset), sources.Some(v.bound)
	}
	return append(events, e)
}

// reportFaults returns the faults that came and went; both lists are sorted.
func (a *Arbiter) reportFaults(now []Fault) []Event {
	var events []Event
	for _, f := range now {
		if _, held := slices.BinarySearchFunc(a.faults, f, compareFaults); !held {
			events = append(events, Event{Kind: FaultRaised, Source: f.Source, To: f.Name, Reason: f.Evidence})
		}
	}
	for _, f := range a.faults {
		if _, holds := slices.BinarySearchFunc(now, f, compareFaults); !holds {
			events = append(events, Event{Kind: FaultCleared, Source: f.Source, From: f.Name, Reason: "no longer holds; it was: " + f.Evidence})
		}
	}
	return events
}

// changes says what would change the decision where the stage that decided did not.
func (r *round) changes() string {
	switch {
	case r.change != "":
		return r.change
	case r.chosen == nil && len(r.views) == 0:
		return "a configured source"
	case r.chosen == nil:
		return "a source that passes every test and settles"
	}
	for _, v := range r.ranked {
		if v != r.chosen {
			return "the loss of " + string(r.chosen.ID) + ": then " + string(v.ID) + " is next"
		}
	}
	return "the loss of " + string(r.chosen.ID) + ": then the clock holds over, no other source may be followed"
}
