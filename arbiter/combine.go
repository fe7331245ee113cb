package arbiter

import (
	"slices"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

const (
	// nearEqual is by what factor the score of a source may be worse than the followed one's, or better,
	// to be followed with it. One that is clearly better has to be selected first.
	nearEqual = 3.0
	// fresherSD is by what factor an estimate must be surer than the reckoning to replace it.
	fresherSD = 0.5
	// lost is the number of samples in a row too far from the reckoning to enter that show that it is
	// the reckoning that is wrong, as after the oscillator changed its frequency.
	lost = 8
	// seasoned is the number of samples from which an estimate says what the oscillator's wander is.
	seasoned = 64
	// green is the number of samples up to which an estimate may still move by more than it knows: nothing is
	// compared with it, and nobody testifies against it.
	green = 16
)

// target is what the clock follows: the estimate of the chosen source, or, where others are nearly as
// good or where it is only the fall-back of a better one, the reckoning that all of them feed.
func (a *Arbiter) target(r *round, d *Decision) sources.Estimate {
	v := r.chosen
	members := a.members(r)
	single := len(members) == 1 && a.bias(v, r.in.Now) == 0
	outlived := single && a.outlived(v)
	if !outlived && a.alone(r, single) {
		a.teach(r, v)
		est := v.est
		est.Bound = max(v.bound, a.suspected)
		return est
	}
	a.unteach()
	if !a.model.known || !a.model.taught && float64(v.est.OffsetSD) < fresherSD*a.model.sd() {
		est := a.unbiased(v, r.in.Now)
		a.carry(r, est.Offset)
		a.model.adopt(est, false)
	}
	if a.model.refused >= lost {
		a.model.taught = false
		a.model.adopt(a.unbiased(v, r.in.Now), false)
	}
	if !a.model.taught {
		a.model.wander = max(v.est.WanderPPB, 0)
	}
	if !outlived {
		a.feed(members)
	}
	d.Combined = make([]sources.ID, len(members))
	for i, m := range members {
		d.Combined[i] = m.ID
	}
	slices.Sort(d.Combined)
	est := a.model.estimate(v.est)
	est.Bound = min(v.bound+magnitude(subtract(est.Offset, v.est.Offset)), maxMagnitude)
	return est
}

// members are the sources that are followed together with the chosen one, itself the first.
func (a *Arbiter) members(r *round) []*view {
	members := append(make([]*view, 0, 1+len(r.ranked)), r.chosen)
	if !a.cfg.Combine {
		return members
	}
	for _, w := range r.ranked {
		if w == r.chosen || w.Options.Prefer != r.chosen.Options.Prefer || w.newest == nil || w.est.Suspects > 0 {
			continue
		}
		if w.score <= nearEqual*r.chosen.score && r.chosen.score <= nearEqual*w.score {
			members = append(members, w)
		}
	}
	return members
}

// alone reports whether the chosen source is followed by itself: nobody passes samples on, or it is a single one,
// which has no equals and whose bias no better one, of this run or of the one before, has taught us.
func (a *Arbiter) alone(r *round, single bool) bool {
	v := r.chosen
	return v.newest == nil || single && !a.carried(v, r.in.Now)
}

// outlived reports whether a single source is the last one left, while another has taught the oscillator so well
// that the reckoning is still surer without it: it goes on by itself.
func (a *Arbiter) outlived(v *view) bool {
	return v.newest != nil && a.model.known && a.lineage != "" && a.lineage != v.ID && float64(v.est.OffsetSD) > a.model.sd()
}

// teaching is the source that the reckoning is.
type teaching struct {
	// id is empty while the reckoning is a combination or held over.
	id    sources.ID
	bound time.Duration // of its error
	// spread is one standard deviation of what its measurements are unsure by, at most: more than its estimate's own
	// where their errors last.
	spread time.Duration
	green  bool // it is new
}

// teach makes the chosen source's estimate the reckoning.
func (a *Arbiter) teach(r *round, v *view) {
	if a.teacher.id != v.ID {
		a.meet(r, v)
	}
	a.teacher = teaching{
		id: v.ID, bound: v.bound, green: v.est.Samples < green,
		spread: (v.est.Terms.Reading + v.est.Terms.Spread + v.est.Terms.Growth) / sources.Confidence,
	}
	a.model.adopt(v.est, v.est.Samples >= seasoned)
}

// unteach leaves the reckoning without a teacher.
func (a *Arbiter) unteach() { a.teacher = teaching{} }

// meet carries what is known of the sources over to another teacher. Where the usual differences were
// learnt from it before, they hold again, and show whether it came back as it was. Otherwise they
// are those to the reckoning as it was, and move by as much as that moves now.
func (a *Arbiter) meet(r *round, teacher *view) {
	var moves, variance float64
	if a.model.known && a.lineage != teacher.ID {
		moves = float64(subtract(a.model.offsetAt(r.in.Now), teacher.est.Offset))
		variance = a.model.pp + float64(teacher.est.OffsetSD)*float64(teacher.est.OffsetSD)
		a.carry(r, teacher.est.Offset)
	}
	a.lineage = teacher.ID
	for i := range r.views {
		c := &r.views[i].rec.compared
		c.fast = average{}
		if moves != 0 && teacher.est.Samples < green {
			c.slow, c.learnt = average{}, sources.None[timescale.Instant]()
		}
		if c.slow.weight > 0 {
			c.slow.mean += moves
			c.slow.weight = 1 / (1/c.slow.weight + variance)
		}
	}
}

// carry leaves displaced sources where they are when the reckoning goes to another's estimate, which has a bias of
// its own: they have not come nearer by that.
func (a *Arbiter) carry(r *round, to time.Duration) {
	if !a.model.known {
		return
	}
	moves := subtract(a.model.offsetAt(r.in.Now), to)
	for i := range r.views {
		if m := r.views[i].rec.moved; m != nil {
			m.carried = subtract(m.carried, -moves)
		}
	}
}

// feed corrects the reckoning with every new sample of its members.
func (a *Arbiter) feed(members []*view) {
	for _, m := range members {
		if !m.fresh {
			continue
		}
		difference := m.difference - float64(a.bias(m, m.est.At))
		if limit := gateSD * gateSD * (m.variance + a.model.pp); difference*difference <= limit {
			a.model.correct(difference, m.variance)
			a.model.refused = 0
		} else {
			a.model.refused++
		}
	}
}
