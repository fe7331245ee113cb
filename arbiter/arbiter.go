package arbiter

import (
	"slices"
	"strings"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Arbiter is the state that decisions need of the past: who is followed, since when, who has to
// settle. It is not safe for concurrent use.
type Arbiter struct {
	cfg      Config
	number   uint64
	mode     Mode
	selected sources.Optional[sources.ID]
	records  []record // sorted by ID
	timers   timers
	follow   following
	faults   []Fault
	step     stepping
	model    reckoning
	teacher  teaching
	// lineage is the source against which the usual differences of the others were learnt.
	lineage sources.ID
	// doubt is set while the others move against the teacher.
	doubt bool
	// suspected is by how much the teacher may be off then: it widens the bound.
	suspected time.Duration
	kept      []keptFault
	// views, edges and ranked are empty between two steps: no part of the state, but space that is used again.
	views  []view
	edges  []edge
	ranked []*view
	local  locally
	// voted is the newest vote in words.
	voted struct {
		vote vote
		text string
	}
	leap  leaping
	table LeapTable
	// resumed is present where this run continues an earlier one.
	resumed sources.Optional[resumption]
	// inherited is what an earlier run learnt of biases, sorted by ID.
	inherited []Bias
	limits    []limited
	thermal   thermal
}

// New returns an arbiter that has decided nothing yet.
func New(cfg Config) *Arbiter { return &Arbiter{cfg: cfg, mode: FreeRunning} }

// round is one step in the making: what the stages of the pipeline pass on.
type round struct {
	in     Input
	views  []view // sorted by ID
	vote   vote
	ranked []*view // selectable, best first
	chosen *view
	rule   string
	reason string
	change string
	faults []Fault
	events []Event
}

// view is one candidate with the verdict as it grows.
type view struct {
	*Candidate
	index     int // in Input.Candidates
	rec       *record
	report    *sources.Report // nil where there is none, as newest; neither is ever changed
	newest    *sources.Sample
	refers    uint32 // the reference ID that an NTP server reported, 0 for none
	est       sources.Estimate
	has       bool
	offset    time.Duration // source - system clock
	bound     time.Duration
	state     State
	reason    string
	score     float64
	duplicate bool // another candidate has the same ID
	refuted   bool // named a liar before the vote

	// fresh is set when a new sample was compared with the reckoning: difference is sample less
	// reckoning in ns, variance that of the sample.
	fresh                bool
	difference, variance float64
}

// Step takes everything that is known at one instant and decides.
func (a *Arbiter) Step(in Input) Decision {
	r := &round{in: in, ranked: a.ranked[:0]}
	a.look(r)
	a.admit(r)
	a.hearsay(r)
	a.refuteUTCOffsets(r)
	a.attend(r)
	a.strand(r)
	a.observe(r)
	a.testify(r)
	r.vote = a.count(r.views)
	a.judge(r)
	a.settle(r)
	rank(r)
	a.choose(r)
	d := Decision{At: in.Now}
	if !a.leapIsDue(r) {
		a.stepOrWait(r, &d)
	}
	a.switchTo(r)
	a.steer(r, &d)
	a.voteLeap(r, &d)
	a.weighLimits(r, &d)
	a.nameFaults(r)
	a.conclude(r, &d)
	a.views, a.edges, a.ranked = r.views[:0], a.edges[:0], r.ranked[:0]
	return d
}

// look pairs each candidate with its record, in the order of the IDs.
func (a *Arbiter) look(r *round) {
	if cap(a.views) < len(r.in.Candidates) {
		a.views = make([]view, 0, len(r.in.Candidates))
	}
	r.views = a.views[:len(r.in.Candidates)]
	for i := range r.in.Candidates {
		r.views[i] = view{Candidate: &r.in.Candidates[i], index: i}
	}
	if byID := func(v, w view) int { return strings.Compare(string(v.ID), string(w.ID)) }; !slices.IsSortedFunc(r.views, byID) {
		slices.SortStableFunc(r.views, byID)
	}
	a.keepRecords(r.views)
	next := 0 // the records are those of the views, each once
	for i := range r.views {
		v := &r.views[i]
		if i > 0 && v.ID != r.views[i-1].ID {
			next++
		}
		v.rec = &a.records[next]
		v.report, v.newest = v.Report.Pointer(), v.Newest.Pointer()
		v.est, v.has = v.Estimate.Get()
		if v.has {
			v.offset = subtract(v.est.Offset, r.in.System)
			v.bound = max(v.est.Bound, v.Options.Floor)
		}
	}
}

// record is what is remembered of one source.
type record struct {
	id sources.ID
	// known is the reference ID by which an NTP server's clients are known, 0 where its name is no IPv4 address.
	known uint32
	sound sentence
	state State
	// track is that of the step before, before its estimate then.
	track  uint32
	before sources.Estimate
	// base is the count of samples from which settling counts.
	base int
	// jumped is set when a proven source started a new track elsewhere, jumpedBy away, and until it has settled again.
	jumped   bool
	jumpedBy time.Duration
	believed bool
	// vouched is set while others stand in for the samples that it has yet to show.
	vouched bool
	// settled is when it settled for the first time.
	settled sources.Optional[timescale.Instant]
	// losses counts how often it was lost while selected, the last time at lastLoss.
	losses   int
	lastLoss timescale.Instant
	// compared is how it differs from the reckoning, moved is set while the witness contradicts it.
	compared comparison
	moved    *displacement
	said     advertised
	// stranded is the track that stands on L as it was before it jumped.
	stranded sources.Optional[uint32]
	// continues: it was believed when the earlier run ended, and has not been followed, nor jumped, since.
	continues bool
}

// keepRecords makes the records those of the candidates: a source that is gone is forgotten.
func (a *Arbiter) keepRecords(views []view) {
	if a.knows(views) {
		return
	}
	kept := make([]record, 0, len(views))
	for i := range views {
		if i > 0 && views[i].ID == views[i-1].ID {
			continue
		}
		if old := a.record(views[i].ID); old != nil {
			kept = append(kept, *old)
		} else {
			id := views[i].ID
			kept = append(kept, record{id: id, known: referenceID(referenceOf(id)), compared: comparison{scale: 1, inherited: a.inheritance(id)}})
		}
	}
	a.records = kept
}

// knows reports whether the records are those of the candidates already.
func (a *Arbiter) knows(views []view) bool {
	return slices.EqualFunc(a.records, views, func(rec record, v view) bool { return rec.id == v.ID })
}

func (a *Arbiter) record(id sources.ID) *record {
	i, ok := slices.BinarySearchFunc(a.records, id, func(r record, id sources.ID) int {
		return strings.Compare(string(r.id), string(id))
	})
	if !ok {
		return nil
	}
	return &a.records[i]
}

// find returns the view of a source, nil without one.
func (r *round) find(id sources.Optional[sources.ID]) *view {
	want, ok := id.Get()
	if !ok {
		return nil
	}
	for i := range r.views {
		if r.views[i].ID == want {
			return &r.views[i]
		}
	}
	return nil
}
