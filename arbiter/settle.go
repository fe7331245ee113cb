package arbiter

import (
	"fmt"
	"slices"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

const (
	// forgetLosses is how long a source must not be lost to be treated as new again.
	forgetLosses = 10 * time.Minute
	// vouchedSamples settle a new source whose whole error interval is within those of two settled and
	// independent ones: by following it the clock cannot leave where they would keep it. Two samples
	// tell its rate. At the start nobody has settled by samples of its own, and as many of each make a voucher.
	vouchedSamples, vouchers = 2, 2
	// maxPenalty limits how often the settling of a flapping source is quadrupled.
	maxPenalty = 3
)

// settle makes every believed source Settling or Selectable. A source that was out, that lied, or
// that jumped against L needs new samples before it may be followed; while it settles it votes.
func (a *Arbiter) settle(r *round) {
	event, agreeing, start := a.localEvent(r), a.agreeing(r.vote), r.start()
	for i := range r.views {
		v := &r.views[i]
		if v.duplicate {
			continue
		}
		a.resettle(v, r, event)
		if v.state != 0 {
			continue
		}
		need, have := a.needed(v.rec, r.in.Now), v.est.Samples-v.rec.base
		v.rec.vouched = have < need && (v.rec.vouched || !v.rec.believed && r.vouched(v, start))
		if v.rec.vouched {
			need = min(need, vouchedSamples)
		}
		if have < need {
			v.fail(Settling, fmt.Sprintf("%d of %d samples since it %s", max(0, have), need, v.rec.began()))
			continue
		}
		v.rec.believed, v.rec.jumped, v.rec.continues = true, false, false
		v.rec.settled = sources.Some(v.rec.settled.Or(r.in.Now))
		v.state, v.reason = Selectable, v.rec.sound.say(v, agreeing)
	}
}

// agreeing shows the vote in words, which are kept while it is the same.
func (a *Arbiter) agreeing(n vote) string {
	if n.lo, n.hi = 0, 0; a.voted.text == "" || n != a.voted.vote {
		a.voted.vote, a.voted.text = n, n.String()
	}
	return a.voted.text
}

// sentence is why a source may be selected. Of many sources at every tick it is the same as before, and kept.
type sentence struct {
	offset, bound  time.Duration
	agreeing, text string
}

func (s *sentence) say(v *view, agreeing string) string {
	offset, bound := show(v.offset), show(v.bound)
	if s.text == "" || offset != s.offset || bound != s.bound || agreeing != s.agreeing {
		*s = sentence{offset, bound, agreeing, interval(v) + ", agrees with " + agreeing}
	}
	return s.text
}

// proven reports whether the source is believed for samples of its own, and not because others vouch for it.
func (rec *record) proven() bool { return rec.believed && !rec.vouched }

// start reports whether nobody is proven yet.
func (r *round) start() bool {
	return !slices.ContainsFunc(r.views, func(v view) bool { return v.rec.proven() })
}

// vouched reports whether sources that are independent of v and of each other stand behind all of its error
// interval: settled ones, and at the start those that are as new as it.
func (r *round) vouched(v *view, start bool) bool {
	groups := []string{v.independence()}
	for i := range r.views {
		o := &r.views[i]
		settled := o.rec.believed && (o.state == 0 || o.state == Selectable)
		asNew := start && (o.state == 0 || o.state == Settling) && o.est.Samples-o.rec.base >= vouchedSamples
		stands := o.has && !o.Options.NoSelect && (settled || asNew)
		within := subtract(o.offset, o.bound) <= subtract(v.offset, v.bound) && subtract(o.offset, -o.bound) >= subtract(v.offset, -v.bound)
		if stands && within && !slices.Contains(groups, o.independence()) {
			groups = append(groups, o.independence())
		}
	}
	return len(groups) > vouchers
}

// began says since when the samples of a settling source are counted.
func (rec *record) began() string {
	switch {
	case rec.jumped:
		return "jumped against the local timescale"
	case rec.believed && rec.losses == 0:
		return "began anew"
	case rec.believed:
		return "came back"
	default:
		return "was first heard"
	}
}

// resettle starts the count of samples again where there is a reason to.
func (a *Arbiter) resettle(v *view, r *round, event bool) {
	rec := v.rec
	if !v.has {
		rec.base = 0
		return
	}
	if v.est.Samples < rec.base {
		rec.base, rec.vouched = 0, false
	}
	if v.anew() && rec.believed && !event {
		// One that others vouched for had too few samples to be right of itself: it is new again, and has not jumped.
		rec.jumpedBy, rec.jumped = v.leapt(r.in.Now)
		rec.believed = rec.proven()
		rec.continues, rec.base, rec.vouched = false, v.est.Samples, false
	}
	rec.track, rec.before = v.est.Track, v.est
	if v.state != 0 && v.state <= Stale && rec.losses > 0 {
		rec.lastLoss = r.in.Now // it still flaps, selected or not
	}
	if v.state != 0 && v.state <= Stale || v.state == Falseticker && r.vote.majority() {
		rec.vouched = false
	}
	switch {
	case v.state == Falseticker && r.vote.majority():
		rec.base, rec.continues = v.est.Samples, false
	case v.state != 0 && v.state <= Stale:
		rec.base = a.lostFrom(rec, v.est, r.in.Now)
	}
}

// localEvent reports whether more than half of the voters, and at least two, began a new track in this
// very step: then it was L that jumped, as on the resume of a virtual machine, and not they.
func (a *Arbiter) localEvent(r *round) bool {
	began, voters := 0, 0
	for i := range r.views {
		v := &r.views[i]
		if !v.has || v.Options.NoSelect || v.state != 0 && v.state < Falseticker {
			continue
		}
		voters++
		if v.anew() {
			began++
		}
	}
	return began > 1 && 2*began > voters
}

// needed returns the samples a source has to show: more for one that is lost again and again.
func (a *Arbiter) needed(rec *record, now timescale.Instant) int {
	if rec.losses > 0 && age(now, rec.lastLoss) > forgetLosses {
		rec.losses = 0
	}
	need := max(1, min(a.cfg.Settle, 1000))
	return need << (2 * min(max(0, rec.losses-1), maxPenalty))
}
