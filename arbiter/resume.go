package arbiter

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// continuity is how long after a resume what the earlier run knew is worth waiting for: by then every engine
// that is going to has spoken.
const continuity = time.Minute

// resumption is what is remembered of an earlier run that this one continues.
type resumption struct {
	at timescale.Instant
	// teacher is the source that was the reckoning when the earlier run ended, empty for a combination.
	teacher sources.ID
}

// Resume continues with the state of an earlier run that ended some time ago, on the same L. in has the
// estimates as they were then. Nothing is followed until a source is heard again, so the clock holds over
// from where the earlier run had it; who lied stays a liar. A believed source whose first new sample
// continues its track is the same source in the same place, and need not settle for longer. Whoever is
// heard before the one that taught the reckoning enters it in proportion and does not replace it.
func (a *Arbiter) Resume(in Input) {
	a.number, a.selected, a.timers, a.views = 0, sources.None[sources.ID](), timers{}, nil
	a.resumed = sources.Some(resumption{at: in.Now, teacher: a.teacher.id})
	for _, c := range in.Candidates {
		rec := a.record(c.ID)
		if rec == nil {
			continue
		}
		rec.continues = rec.believed && rec.moved == nil
		if e, ok := c.Estimate.Get(); ok {
			rec.base = max(rec.base, a.oneShort(rec, e, in.Now))
		}
	}
}

// oneShort is the count of samples from which settling has to count so that one more ends it.
func (a *Arbiter) oneShort(rec *record, e sources.Estimate, now timescale.Instant) int {
	return e.Samples - a.needed(rec, now) + 1
}

// lostFrom is the count of samples from which a source that is out has to settle.
func (a *Arbiter) lostFrom(rec *record, e sources.Estimate, now timescale.Instant) int {
	if _, fresh := a.continued(now); fresh && rec.continues {
		return max(rec.base, a.oneShort(rec, e, now))
	}
	return e.Samples
}

// continued returns the earlier run that ended just now.
func (a *Arbiter) continued(now timescale.Instant) (resumption, bool) {
	since, ok := a.resumed.Get()
	return since, ok && age(now, since.at) <= continuity
}

// returned reports whether v is whom the earlier run followed: it stood in for by others, and need not show
// again that it is better.
func (a *Arbiter) returned(v *view, now timescale.Instant) bool {
	since, fresh := a.continued(now)
	return fresh && v.ID == since.teacher
}

// carried reports whether the reckoning is still to be that of the earlier run: v is not whom it was learnt
// from, who may yet be heard.
func (a *Arbiter) carried(v *view, now timescale.Instant) bool {
	since, fresh := a.continued(now)
	return fresh && a.model.known && v.ID != since.teacher
}

// Sound reports whether the figures that a successor starts from are measurements: a state that was kept
// in a file may be that of a program that went wrong.
func (a *Arbiter) Sound() bool {
	k := &a.model
	for _, f := range [...]float64{k.phase, k.freq, k.pp, k.pf, k.ff, k.wander, k.lasting} {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return k.pp >= 0 && k.ff >= 0 && a.follow.has && sane(a.follow.est)
}
