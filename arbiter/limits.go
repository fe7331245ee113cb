package arbiter

import (
	"fmt"
	"time"

	"clockarbiter/sources"
)

// LimitState is how one of Config.Limits stands.
type LimitState struct {
	Limit time.Duration
	// Violated is set while the error bound of the system clock is above the limit, or there is none.
	Violated bool
	// Left is the time until it would be violated if every source were lost now, absent while it is
	// violated, and where it never would be.
	Left sources.Optional[time.Duration]
}

// limited is what is remembered of one limit.
type limited struct {
	limit time.Duration
	// met lags behind by metShare, ever is set once it was met: from then on a change is news.
	met, ever bool
}

// metShare of a limit is what the bound must come below for it to be met again: a bound that breathes with
// the polls of its source is no news at each of them.
const metShare = 0.9

// weighLimits compares the error bound of the system clock with each limit.
func (a *Arbiter) weighLimits(r *round, d *Decision) {
	a.keepLimits()
	target, known := d.Target.Get()
	target.Bound = d.Bound.Or(0)
	// What is published as maxerror: the bound about the target, and how far the clock is from it.
	off := magnitude(subtract(subtract(target.Offset, r.in.System), d.Step.Or(0)))
	d.Limits = make([]LimitState, len(a.limits))
	for i := range a.limits {
		m := &a.limits[i]
		room, was := subtract(m.limit, off), m.met
		state := LimitState{Limit: m.limit, Violated: !known || target.Bound > room}
		if !state.Violated {
			state.Left = target.Until(room)
		}
		m.met = !state.Violated && (was || float64(target.Bound+off) <= metShare*float64(m.limit))
		d.Limits[i] = state
		if m.ever && m.met != was {
			r.events = append(r.events, m.event(known, target.Bound+off, a.mode))
		}
		m.ever = m.ever || m.met
	}
}

// keepLimits makes the remembered limits those of the configuration.
func (a *Arbiter) keepLimits() {
	same := len(a.limits) == len(a.cfg.Limits)
	for i := 0; same && i < len(a.limits); i++ {
		same = a.limits[i].limit == a.cfg.Limits[i]
	}
	if same {
		return
	}
	old := a.limits
	a.limits = make([]limited, len(a.cfg.Limits))
	for i, limit := range a.cfg.Limits {
		a.limits[i].limit = limit
		for _, m := range old {
			if m.limit == limit {
				a.limits[i] = m
			}
		}
	}
}

// event tells that the limit is violated, or met again.
func (m *limited) event(known bool, bound time.Duration, mode Mode) Event {
	e := Event{Kind: LimitViolated, From: m.limit.String(), Bound: sources.Some(bound)}
	if m.met {
		e = Event{Kind: LimitMet, To: m.limit.String(), Bound: e.Bound}
	}
	e.Reason = fmt.Sprintf("the error of the clock is bounded by %v, mode %v", show(bound), mode)
	if !known {
		e.Bound, e.Reason = sources.None[time.Duration](), fmt.Sprintf("nothing bounds the error of the clock, mode %v", mode)
	}
	return e
}
