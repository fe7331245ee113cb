package arbiter

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Bias is what was learnt of a source's constant offset, in a form that outlives the arbiter.
type Bias struct {
	ID sources.ID
	// Reference is the grandmaster behind a PTP source, which another one voids: path and clock are
	// others. Empty for NTP, where the path to the server stays whatever the server follows.
	Reference string
	// Offset is source - UTC, SD one standard deviation of it.
	Offset, SD time.Duration
	// Learnt is the instant of UTC at which it was last confirmed.
	Learnt timescale.Instant
}

const (
	// MaxBiases bounds what is handed on: the newest count.
	MaxBiases = 64
	// biasAhead is how far in the future a bias may have been learnt: UTC is not known better at start.
	biasAhead = time.Hour
)

// Inherit takes what an earlier run learnt. Of each source it is used until this run has learnt better,
// and no longer than Config.BiasMaxAge after it was learnt.
func (a *Arbiter) Inherit(list []Bias) {
	a.inherited = slices.Clone(list)
	slices.SortStableFunc(a.inherited, func(b, c Bias) int { return strings.Compare(string(b.ID), string(c.ID)) })
	for i := range a.records {
		a.records[i].compared.inherited = a.inheritance(a.records[i].id)
	}
}

func (a *Arbiter) inheritance(id sources.ID) sources.Optional[Bias] {
	i, ok := slices.BinarySearchFunc(a.inherited, id, func(b Bias, id sources.ID) int { return strings.Compare(string(b.ID), string(id)) })
	if !ok {
		return sources.None[Bias]()
	}
	return sources.Some(a.inherited[i])
}

// Biases returns what is known at now of the sources' constant offsets, own or inherited, for a later
// run, sorted by ID; none where biases are not learnt.
func (a *Arbiter) Biases(now timescale.Instant) []Bias {
	if !a.cfg.LearnBias || !a.model.known {
		return nil
	}
	utc := now.Add(a.model.offsetAt(now))
	var list []Bias
	for i := range a.records {
		rec := &a.records[i]
		if b, ok := a.known(rec, rec.said.reference, utc.Sub(now)); ok {
			list = append(list, b)
		}
	}
	for _, b := range a.inherited {
		if a.record(b.ID) == nil {
			list = append(list, b) // a member of a pool that is not there at present
		}
	}
	list = slices.DeleteFunc(list, func(b Bias) bool { return !a.holds(b, utc) })
	if len(list) > MaxBiases {
		slices.SortStableFunc(list, func(b, c Bias) int { return cmp.Compare(c.Learnt, b.Learnt) })
		list = list[:MaxBiases]
	}
	slices.SortStableFunc(list, func(b, c Bias) int { return strings.Compare(string(b.ID), string(c.ID)) })
	return list
}

// holds reports whether a bias is young enough.
func (a *Arbiter) holds(b Bias, utc timescale.Instant) bool {
	old := subtract(time.Duration(utc), time.Duration(b.Learnt))
	return old <= a.cfg.BiasMaxAge && old >= -biasAhead
}

// surerBy is by what factor an inherited bias must be surer than that of this run to be used in its place.
const surerBy = 3

// known returns what is known of the bias of a source: what this run learnt, unless it is still much less
// sure of it than an earlier run was. ahead is UTC - L, reference the grandmaster that is heard now.
func (a *Arbiter) known(rec *record, reference string, ahead time.Duration) (Bias, bool) {
	c := &rec.compared
	b, ok := c.inherited.Get()
	ok = ok && b.Reference == reference
	learnt, own := c.learnt.Get()
	if !own || !c.speaks() || ok && math.Sqrt(c.slow.variance()) > surerBy*float64(b.SD) {
		return b, ok
	}
	return Bias{
		ID: rec.id, Reference: reference, Offset: nanoseconds(c.slow.mean),
		SD: max(1, nanoseconds(math.Sqrt(c.slow.variance()))), Learnt: learnt.Add(ahead),
	}, true
}

// biasOf returns what is known of the constant offset of a source at now, within what its path can hide,
// and how long ago it was confirmed; false where nothing is, or it is too old.
func (a *Arbiter) biasOf(v *view, now timescale.Instant) (b Bias, old time.Duration, ok bool) {
	if !a.cfg.LearnBias || !v.has {
		return b, 0, false
	}
	if b, ok = a.known(v.rec, v.rec.said.reference, v.est.Offset); !ok {
		return b, 0, false
	}
	limit := v.est.Terms.Systematic()
	b.Offset = max(-limit, min(limit, b.Offset))
	utc := now.Add(v.est.Offset)
	return b, age(utc, b.Learnt), a.holds(b, utc)
}

// bias is the known constant offset of a source, 0 where none is.
func (a *Arbiter) bias(v *view, now timescale.Instant) time.Duration {
	if b, _, ok := a.biasOf(v, now); ok {
		return b.Offset
	}
	return 0
}

// unbiased is the estimate of a source less its bias.
func (a *Arbiter) unbiased(v *view, now timescale.Instant) sources.Estimate {
	e := v.est
	if b, _, ok := a.biasOf(v, now); ok {
		e.Offset = subtract(e.Offset, b.Offset)
		e.OffsetSD = nanoseconds(math.Hypot(float64(e.OffsetSD), float64(b.SD)))
	}
	return e
}
