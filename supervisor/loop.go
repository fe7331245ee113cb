package supervisor

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
	"clockarbiter/supervisor/process"
)

// loop is the control loop: it owns the trackers, the arbiter and the writer. Updates come in at any
// time, decisions are made at a fixed period.
type loop struct {
	plan       Plan
	interval   time.Duration
	now        func() timescale.Instant
	arbiter    *arbiter.Arbiter
	discipline *clock.Discipline
	record     recorder
	log        *slog.Logger

	updates <-chan sources.Update
	events  <-chan process.Event
	orders  <-chan order
	// virtual is CLOCK_REALTIME - the steered clock, for driver virtual; nil otherwise.
	virtual func(timescale.Instant, time.Duration) sources.Optional[time.Duration]
	// children describes the children; it must not block.
	children func() []ChildStatus
	identity Status // version, pid and driver
	latest   atomic.Pointer[Status]
	ticked   func(Status)

	tracked []*tracked // sorted by ID
	state   loopState
}

// loopState is what status tells beyond the newest decision.
type loopState struct {
	status LoopStatus
	clock  ClockStatus
	since  time.Time
	key    string // of the decision in force
	id     string
	next   time.Time // when the next tick is due
}

// tracked is one source as the loop knows it.
type tracked struct {
	id       sources.ID
	kind     sources.Kind
	member   bool // of a pool, or the pool itself while it has no members
	options  arbiter.Options
	tracker  *sources.Tracker
	report   sources.Optional[sources.Report]
	rejected int
	delay    sources.Optional[time.Duration]
}

// run ticks until ctx is done.
func (l *loop) run(ctx context.Context) {
	l.expect()
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-l.updates:
			l.take(u)
		case ev := <-l.events:
			l.record.child(ev)
		case o := <-l.orders:
			l.adopt(o)
		case at := <-ticker.C:
			l.tick(at)
		}
	}
}

// expect makes every configured source known before it says anything.
func (l *loop) expect() {
	for _, p := range l.plan.Sources {
		if !p.Pool {
			l.find(p.ID)
		}
	}
}

// adopt makes a new plan and new thresholds those in force. What is known of a source that stays is
// kept: neither plan nor engine changes what has been measured.
func (l *loop) adopt(o order) {
	l.plan = o.plan
	l.arbiter.Configure(o.arbiter)
	l.tracked = slices.DeleteFunc(l.tracked, func(t *tracked) bool {
		_, planned := l.plan.OptionsFor(t.id)
		return !planned
	})
	for _, t := range l.tracked {
		p, _ := l.plan.OptionsFor(t.id)
		independence := t.options.Independence
		t.member, t.options = p.Pool, p.Options
		t.options.Independence = independence
	}
	l.expect()
}

// find returns the source of that name, which is new when a pool brings another member.
func (l *loop) find(id sources.ID) (*tracked, bool) {
	i, ok := slices.BinarySearchFunc(l.tracked, id, func(t *tracked, id sources.ID) int {
		return strings.Compare(string(t.id), string(id))
	})
	if ok {
		return l.tracked[i], true
	}
	p, planned := l.plan.OptionsFor(id)
	if !planned {
		return nil, false
	}
	t := &tracked{
		id: id, kind: p.Kind, member: p.Pool, options: p.Options,
		// The floor is the arbiter's to apply: a reload may lower it.
		tracker: sources.NewTracker(sources.TrackerConfig{Source: id, Kind: p.Kind}),
	}
	t.options.Independence = string(id)
	l.tracked = slices.Insert(l.tracked, i, t)
	return t, true
}

// take feeds an update to the trackers.
func (l *loop) take(u sources.Update) {
	now := l.now()
	for _, s := range u.Samples {
		t, ok := l.find(s.Source)
		if !ok {
			l.log.Warn("sample of a source that is not configured", "source", s.Source)
			continue
		}
		t.add(s, now, l.log)
	}
	for _, r := range u.Reports {
		if t, ok := l.find(r.Source); ok {
			t.take(r)
		}
	}
}

func (t *tracked) add(s sources.Sample, now timescale.Instant, log *slog.Logger) {
	t.tracker.Observe(now)
	v := t.tracker.Add(s)
	t.delay = s.Delay
	switch v.Outcome {
	case sources.Accepted:
	case sources.Duplicate:
		log.Debug("sample again", "source", s.Source)
	default:
		t.rejected++
		log.Debug("sample judged", "source", s.Source, "outcome", v.Outcome.String(), "reason", v.Reason, "offset_ns", int64(s.Offset))
	}
}

// take keeps a report. Two PTP ports that hear one grandmaster are one vote behind a step.
func (t *tracked) take(r sources.Report) {
	t.report = sources.Some(r)
	if t.kind == sources.PTP && r.Quality.Reference != "" {
		t.options.Independence = "grandmaster " + r.Quality.Reference
	}
}

// memberForgottenAfter is how long a member of a pool is kept that chronyd does not report any more,
// because another took its place.
const memberForgottenAfter = 30 * time.Second

// forget drops what came from a pool and is gone.
func (l *loop) forget() {
	now := l.now()
	l.tracked = slices.DeleteFunc(l.tracked, func(t *tracked) bool {
		r, ok := t.report.Get()
		return t.member && ok && now.Sub(r.At) > memberForgottenAfter
	})
}

// tick decides and steers once.
func (l *loop) tick(at time.Time) {
	l.keepTime(at)
	l.forget()
	reading, err := l.discipline.Read()
	if err != nil {
		l.writerFailed(err)
		return
	}
	in := l.input(reading)
	decision := l.arbiter.Step(in)
	report, err := l.discipline.Tick(l.command(decision))
	if err != nil {
		l.writerFailed(err)
	} else {
		l.wrote(report)
	}
	l.note(decision, report)
	l.publish(in, decision, report)
}

// keepTime watches the loop's own period.
func (l *loop) keepTime(at time.Time) {
	s := &l.state.status
	s.Ticks++
	if !l.state.next.IsZero() {
		late := time.Since(l.state.next)
		s.WorstLatenessNS = max(s.WorstLatenessNS, late)
		if late > l.interval {
			s.LateTicks++
		}
	}
	l.state.next = at.Add(l.interval)
}

func (l *loop) input(r clock.Reading) arbiter.Input {
	in := arbiter.Input{Now: r.At, System: r.Offset, Candidates: make([]arbiter.Candidate, 0, len(l.tracked))}
	for _, t := range l.tracked {
		c := arbiter.Candidate{ID: t.id, Kind: t.kind, Options: t.options, Report: t.report}
		if e, ok := t.tracker.Estimate(r.At); ok {
			c.Estimate = sources.Some(e)
		}
		in.Candidates = append(in.Candidates, c)
	}
	return in
}

// command is what the discipline is told of a decision.
func (l *loop) command(d arbiter.Decision) clock.TickInput {
	return clock.TickInput{
		Target: d.Target, Step: d.Step, Bound: d.Bound.Or(0),
		Synchronised: d.Mode == arbiter.Locked || d.Mode == arbiter.Holdover,
		TAIOffset:    l.taiOffset(d),
	}
}

// taiOffset is TAI - UTC where a followed grandmaster says it and the clock is locked to it.
func (l *loop) taiOffset(d arbiter.Decision) sources.Optional[int] {
	id, ok := d.Selected.Get()
	if !ok || d.Mode != arbiter.Locked {
		return sources.None[int]()
	}
	t, _ := l.find(id)
	report, ok := t.report.Get()
	if !ok {
		return sources.None[int]()
	}
	utc, ok := report.Quality.UTCOffset.Get()
	if !ok {
		return sources.None[int]()
	}
	return sources.Some(int(utc / time.Second))
}

func (l *loop) wrote(r clock.TickReport) {
	c := &l.state.clock
	c.LastError = ""
	if f, ok := r.Before.Foreign.Get(); ok {
		c.ForeignWrites++
		c.LastForeignWrite = f.String()
		l.record.foreignWrite(f)
	}
	if step, ok := r.Command.Step.Get(); ok && r.Applied {
		c.Steps++
		c.LastStepNS, c.LastStepAt = sources.Some(step), sources.Some(r.Before.At.Near())
	}
}

// writerFailed reports the first of a row of equal failures.
func (l *loop) writerFailed(err error) {
	if l.state.clock.LastError != err.Error() {
		l.record.writerError(err)
	}
	l.state.clock.LastError = err.Error()
}

// note writes down what is new in the decision.
func (l *loop) note(d arbiter.Decision, r clock.TickReport) {
	key := d.Mode.String() + " " + d.Rule + " " + string(d.Selected.Or(""))
	if key != l.state.key {
		l.state.key, l.state.since = key, d.At.Near()
		l.state.id = l.record.id(d)
	}
	l.record.decision(d, r)
}
