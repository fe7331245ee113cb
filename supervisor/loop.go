package supervisor

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/recording"
	"clockarbiter/sources"
	"clockarbiter/supervisor/process"
	"clockarbiter/supervisor/thermometer"
)

// loop is the control loop: it owns the roster, the arbiter and the writer. Updates come in at any
// time, decisions are made at a fixed period.
type loop struct {
	plan       Plan
	interval   time.Duration
	now        func() timescale.Instant
	roster     *roster.Roster
	arbiter    *arbiter.Arbiter
	discipline *clock.Discipline
	record     recorder
	tape       *recording.Recorder // nil: nothing is recorded
	log        *slog.Logger

	updates <-chan sources.Update
	events  <-chan process.Event
	orders  <-chan order
	tableC  <-chan arbiter.LeapTable
	// virtual is CLOCK_REALTIME - the steered clock, for driver virtual; nil otherwise.
	virtual func(timescale.Instant, time.Duration) sources.Optional[time.Duration]
	// children describes the children; it must not block.
	children func() []ChildStatus
	identity Status // version, pid and driver
	latest   atomic.Pointer[Status]
	ticked   func(Status)
	own      ownership
	// sensor is a temperature sensor near the oscillator, nil without one.
	sensor *thermometer.Thermometer
	// decided is told a decision every rememberEvery, with what else is known, for the next run; it must not block. Nil: nobody is.
	decided func(arbiter.Decision, inheritance)
	// checkpoints are left for a successor; nil: none.
	checkpoints *checkpoints

	state loopState
}

// loopState is what status tells beyond the newest decision.
type loopState struct {
	status LoopStatus
	table  arbiter.LeapTable
	clock  ClockStatus
	since  time.Time
	key    string // of the decision in force
	id     string
	next   time.Time // when the next tick is due
	late   lateness
}

// run ticks until ctx is done.
func (l *loop) run(ctx context.Context) {
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			l.release() // at once: while the engines take their time to end, a slew would run on
			return
		case u := <-l.updates:
			if l.take(u) {
				l.state.next = time.Time{} // it is not the tick that was due
				ticker.Reset(l.interval)
				l.timed(time.Now())
			}
		case ev := <-l.events:
			l.record.child(ev)
		case o := <-l.orders:
			l.adopt(o)
		case t := <-l.tableC:
			l.consult(t)
		case r := <-l.own.rivalC:
			l.own.found(l.now(), r)
		case c := <-l.own.callers.callC:
			l.own.called(l.now(), c)
		case <-l.own.setC:
			if _, err := l.guard(); err != nil {
				l.writerFailed(err)
			}
		case at := <-ticker.C:
			l.timed(at)
		}
	}
}

// timed is a tick whose duration is kept.
func (l *loop) timed(at time.Time) {
	begin := time.Now()
	l.tick(at)
	l.state.status.WorstTickNS = max(l.state.status.WorstTickNS, time.Since(begin))
}

// adopt makes a new plan and new thresholds those in force. What is known of a source that stays is
// kept: neither plan nor engine changes what has been measured.
func (l *loop) adopt(o order) {
	l.plan = o.plan
	l.arbiter.Configure(o.arbiter)
	l.tape.Order(l.plan.roster(), o.arbiter)
	l.roster.Replan(l.plan.roster())
}

// take feeds an update to the trackers, and reports whether a source begins to measure with it: one that the clock
// may have been waiting for, so that the decision is not left to the next tick.
func (l *loop) take(u sources.Update) (begins bool) {
	now := l.now()
	begins = len(u.Samples) > 0 && slices.ContainsFunc(u.Reports, l.begins)
	l.tape.Update(now, u)
	for _, j := range l.roster.Take(now, u) {
		switch {
		case j.Stranger:
			l.log.Warn("sample of a source that is not configured", "source", j.Sample.Source)
		case j.Verdict.Outcome == sources.Duplicate:
			l.log.Debug("sample again", "source", j.Sample.Source)
		default:
			l.log.Debug("sample judged", "source", j.Sample.Source, "outcome", j.Verdict.Outcome.String(),
				"reason", j.Verdict.Reason, "offset_ns", int64(j.Sample.Offset))
		}
	}
	return begins
}

// begins reports whether a report is the first, or the first after another condition, of a source that measures.
func (l *loop) begins(r sources.Report) bool {
	known, ok := l.roster.Find(r.Source)
	return ok && r.Condition == sources.Measuring && known.Report.Or(sources.Report{}).Condition != sources.Measuring
}

// tick decides and steers once.
func (l *loop) tick(at time.Time) {
	l.keepTime(at)
	l.tape.Keyframe(l.arbiter, l.roster)
	reading, err := l.guard()
	if err != nil {
		l.writerFailed(err)
		return
	}
	in := l.roster.Input(reading.At, reading.Offset)
	in.Temperature = l.temperature()
	free := l.arbiter.Step(in)
	decision := l.own.permit(free)
	report, err := l.discipline.Tick(l.own.restrain(l.command(decision)))
	l.tape.Tick(in, free, report.Applied && free.Step == decision.Step)
	if err != nil {
		l.writerFailed(err)
	} else {
		l.wrote(report)
	}
	l.note(decision, report)
	l.remember(decision)
	l.checkpoints.note(l, decision, report)
	l.publish(in, decision, report)
}

// health is what the loop has seen of itself.
func (l *loop) health() LoopStatus {
	s, h := l.state.status, &l.state.late
	s.PeriodNS = l.interval
	s.LatenessP50NS, s.LatenessP99NS, s.LatenessP999NS = h.quantile(0.5), h.quantile(0.99), h.quantile(0.999)
	return s
}

// keepTime watches the loop's own period.
func (l *loop) keepTime(at time.Time) {
	s := &l.state.status
	s.Ticks++
	if !l.state.next.IsZero() {
		late := time.Since(l.state.next)
		s.WorstLatenessNS = max(s.WorstLatenessNS, late)
		l.state.late.add(late)
		if late > l.interval {
			s.LateTicks++
		}
	}
	l.state.next = at.Add(l.interval)
}

// command is what the discipline is told of a decision.
func (l *loop) command(d arbiter.Decision) clock.TickInput {
	return clock.TickInput{
		Target: d.Target, Step: d.Step, Bound: d.Bound.Or(0),
		Synchronised: d.Mode == arbiter.Locked || d.Mode == arbiter.Holdover,
		Leap:         d.Leap,
		Coast:        d.Hold,
		TAIOffset:    taiOffset(d),
	}
}

// taiOffset is TAI - UTC in whole seconds, as the survivors have it.
func taiOffset(d arbiter.Decision) sources.Optional[int] {
	tai, ok := d.TAI.Get()
	if !ok {
		return sources.None[int]()
	}
	return sources.Some(int(tai / time.Second))
}

func (l *loop) wrote(r clock.TickReport) {
	c := &l.state.clock
	c.LastError = ""
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
