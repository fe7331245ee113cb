// Package roster keeps what is known of every source at present: which sources there are, a tracker of
// each, and the newest word of its engine. Updates go in at any time; at a tick the whole of it comes
// out as the input of one arbitration. It never decides anything, has no clock and does no I/O: the
// control loop and a replay of its recording run the same code.
package roster

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Planned is a configured source, or a configured pool whose members appear later.
type Planned struct {
	ID      sources.ID
	Pool    bool
	Kind    sources.Kind
	Options arbiter.Options
}

// covers reports whether id is the planned source or a member of the planned pool.
func (p Planned) covers(id sources.ID) bool {
	return p.ID == id || p.Pool && strings.HasPrefix(string(id), string(p.ID)+"/")
}

// Roster is the present sources. It is not safe for concurrent use, and the same calls always give the
// same inputs.
type Roster struct {
	plan    []Planned
	sources []*Source // sorted by ID
	rate    sources.Optional[sources.Rate]
}

// Source is one source as it is known.
type Source struct {
	ID      sources.ID
	Kind    sources.Kind
	Options arbiter.Options
	// Member tells that it came from a pool and may go again.
	Member  bool
	Tracker *sources.Tracker
	Report  sources.Optional[sources.Report]
	// Rejected counts the samples that did not enter the estimate at once, duplicates excepted.
	Rejected int
	// Delay is that of the newest sample.
	Delay sources.Optional[time.Duration]
	// Newest is the newest sample that can be a measurement, whether it entered or not.
	Newest sources.Optional[sources.Sample]
}

// Judgement is what became of a sample that was not simply accepted.
type Judgement struct {
	Sample  sources.Sample
	Verdict sources.Verdict
	// Stranger tells that no such source is planned; there is no verdict then.
	Stranger bool
}

// memberForgottenAfter is how long a member of a pool is kept that chronyd does not report any more,
// because another took its place.
const memberForgottenAfter = 30 * time.Second

// New returns a roster of the planned sources, of which nothing is known yet.
func New(plan []Planned) *Roster {
	r := &Roster{}
	r.Replan(plan)
	return r
}

// Replan puts another plan into force: sources that it does not cover are forgotten, those that it
// still covers keep what has been measured under their new options, and new ones are added.
func (r *Roster) Replan(plan []Planned) {
	r.plan = slices.Clone(plan)
	r.sources = slices.DeleteFunc(r.sources, func(s *Source) bool {
		p, ok := r.planned(s.ID)
		if !ok || p.Kind != s.Kind {
			return true
		}
		shares := s.Options.Independence
		s.Options, s.Member = p.Options, p.Pool
		s.Options.Independence = shares
		return false
	})
	for _, p := range r.plan {
		if !p.Pool {
			r.Find(p.ID)
		}
	}
}

func (r *Roster) planned(id sources.ID) (Planned, bool) {
	i := slices.IndexFunc(r.plan, func(p Planned) bool { return p.covers(id) })
	if i < 0 {
		return Planned{}, false
	}
	return r.plan[i], true
}

// Sources returns the present sources in the order of their IDs, which is that of the candidates in
// Input.
func (r *Roster) Sources() []*Source { return r.sources }

// Find returns the source of that name, which is new when a pool brings another member; false where no
// plan covers it.
func (r *Roster) Find(id sources.ID) (*Source, bool) {
	i, ok := slices.BinarySearchFunc(r.sources, id, func(s *Source, id sources.ID) int {
		return strings.Compare(string(s.ID), string(id))
	})
	if ok {
		return r.sources[i], true
	}
	p, ok := r.planned(id)
	if !ok {
		return nil, false
	}
	s := &Source{
		ID: id, Kind: p.Kind, Member: p.Pool, Options: p.Options,
		Tracker: r.newTracker(id, p.Kind),
	}
	s.Options.Independence = string(id)
	r.sources = slices.Insert(r.sources, i, s)
	return s, true
}

// Take feeds an update, which arrived at now, and returns the samples that did not simply enter.
func (r *Roster) Take(now timescale.Instant, u sources.Update) []Judgement {
	var judged []Judgement
	for _, sample := range u.Samples {
		sample.Quality = printable(sample.Quality)
		s, ok := r.Find(sample.Source)
		if !ok {
			judged = append(judged, Judgement{Sample: sample, Stranger: true})
			continue
		}
		if v := s.add(now, sample); v.Outcome != sources.Accepted {
			judged = append(judged, Judgement{Sample: sample, Verdict: v})
		}
	}
	for _, report := range u.Reports {
		if s, ok := r.Find(report.Source); ok {
			s.hear(report)
		}
	}
	return judged
}

func (s *Source) add(now timescale.Instant, sample sources.Sample) sources.Verdict {
	s.Tracker.Observe(now)
	v := s.Tracker.Add(sample)
	s.Delay = sample.Delay
	switch v.Outcome {
	case sources.Accepted, sources.Restarted, sources.Outlier, sources.Future:
		s.Newest = sources.Some(sample)
	}
	if v.Outcome != sources.Accepted && v.Outcome != sources.Duplicate {
		s.Rejected++
	}
	return v
}

// hear keeps a report. Two PTP ports that hear one grandmaster are one vote behind a step.
func (s *Source) hear(report sources.Report) {
	report.Detail = valid(report.Detail)
	report.Quality = printable(report.Quality)
	s.Report = sources.Some(report)
	if s.Kind == sources.PTP && report.Quality.Reference != "" {
		s.Options.Independence = "grandmaster " + report.Quality.Reference
	}
}

// printable and valid make text of what may come from the network, so that what is decided on is what
// can be written down.
func printable(q sources.Quality) sources.Quality {
	q.Reference = valid(q.Reference)
	return q
}

func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Input is what one arbitration at now is given; system is the steered clock - L. Members of a pool
// that are gone are forgotten first.
func (r *Roster) Input(now timescale.Instant, system time.Duration) arbiter.Input {
	r.forget(now)
	in := arbiter.Input{Now: now, System: system, Candidates: make([]arbiter.Candidate, 0, len(r.sources))}
	for _, s := range r.sources {
		c := arbiter.Candidate{ID: s.ID, Kind: s.Kind, Options: s.Options, Report: s.Report, Newest: s.Newest}
		if e, ok := s.Tracker.Estimate(now); ok {
			c.Estimate = sources.Some(e)
		}
		in.Candidates = append(in.Candidates, c)
	}
	return in
}

// forget drops what came from a pool and is gone.
func (r *Roster) forget(now timescale.Instant) {
	r.sources = slices.DeleteFunc(r.sources, func(s *Source) bool {
		report, ok := s.Report.Get()
		return s.Member && ok && now.Sub(report.At) > memberForgottenAfter
	})
}
