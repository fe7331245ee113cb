package supervisor

import (
	"fmt"
	"slices"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/sources"
)

// publish makes a new snapshot for status and for the service manager.
func (l *loop) publish(in arbiter.Input, d arbiter.Decision, r clock.TickReport) {
	st := l.identity
	st.At = in.Now.Near()
	st.Mode, st.Selected = d.Mode.String(), d.Selected
	st.Decision = DecisionStatus{ID: l.state.id, Rule: d.Rule, Reason: d.Reason, Change: d.Change, Faults: append(faultNames(d), l.own.faults()...), Since: l.state.since}
	st.Clock = l.clockStatus(r)
	st.Sources = make([]SourceStatus, 0, len(d.Verdicts))
	for i, v := range d.Verdicts {
		st.Sources = append(st.Sources, sourceStatus(l.roster.Sources()[i], in.Candidates[i], v, in))
	}
	st.Children = l.children()
	st.Loop = l.health()
	st.Newest = l.newest(in, d, r)
	st.Recording = l.tape.Stats()
	st.Ownership = l.own.status()
	st.Leap = leapStatus(l.state.table, d)
	st.Oscillator = l.oscillatorStatus(d)
	st.Limits = make([]LimitStatus, 0, len(d.Limits))
	for _, limit := range d.Limits {
		st.Limits = append(st.Limits, LimitStatus{LimitNS: limit.Limit, Violated: limit.Violated, LeftNS: limit.Left})
	}
	l.latest.Store(&st)
	l.ticked(st)
}

// snapshot returns the newest status with its age. It may be called from any goroutine.
func (l *loop) snapshot() (Status, bool) {
	p := l.latest.Load()
	if p == nil {
		return l.identity, false
	}
	st := *p
	st.AgeNS = l.now().Near().Sub(st.At)
	return st, true
}

func (l *loop) clockStatus(r clock.TickReport) ClockStatus {
	c := &l.state.clock
	c.OffsetNS = r.Servo.Remaining
	c.BoundNS = sources.None[time.Duration]()
	if r.Servo.Remaining.Present() {
		c.BoundNS = sources.Some(r.Command.MaxError)
	}
	c.FreqPPB = r.Command.FreqPPB.Or(r.Before.FreqPPB)
	c.Synchronised = r.Command.Synchronised
	c.TAIOffset = r.Before.TAIOffset
	if r.Applied || c.LastError == "" {
		c.LastWrite = describeWrite(r)
	}
	if l.virtual != nil {
		c.HostMinusSteeredNS = l.virtual(r.Before.At, r.Before.Offset)
	}
	return *c
}

// describeWrite says what the writer did in this tick.
func describeWrite(r clock.TickReport) string {
	words := "frequency left alone"
	if f, ok := r.Command.FreqPPB.Get(); ok {
		words = fmt.Sprintf("frequency %+.3f ppm (rate %+.3f, slew %+.3f): %s", f/1000, r.Servo.BasePPB/1000, r.Servo.SlewPPB/1000, r.Servo.Reason)
	}
	if s, ok := r.Command.Step.Get(); ok {
		words = fmt.Sprintf("step %+.9f s, %s", s.Seconds(), words)
	}
	if !r.Applied {
		return "nothing; would have been: " + words
	}
	return words
}

func sourceStatus(known *roster.Source, c arbiter.Candidate, v arbiter.Verdict, in arbiter.Input) SourceStatus {
	s := SourceStatus{
		ID: v.ID, Mark: string(v.State.Mark()), State: v.State.String(), Reason: v.Reason,
		OffsetNS: v.Offset, BoundNS: v.Bound, Score: v.Score, Rejected: known.Rejected, Delay: known.Delay,
		Quality: known.Tracker.Quality(), BiasNS: v.Bias, BiasAgeNS: v.BiasAge,
	}
	if e, ok := c.Estimate.Get(); ok {
		s.JitterNS, s.FreqPPB = sources.Some(e.Jitter), sources.Some(e.FreqPPB)
		s.Samples = e.Samples
		s.AgeNS = sources.Some(in.Now.Sub(e.LastSample))
	}
	if r, ok := c.Report.Get(); ok {
		s.Detail, s.Reach, s.Quality = r.Detail, r.Reach, r.Quality
	}
	return s
}

// faultNames lists the faults that are up, each with the sources that it is about.
func faultNames(d arbiter.Decision) []string {
	names := make([]string, 0, len(d.Faults))
	for _, f := range d.Faults {
		names = append(names, f.Name+of(f.Source)+": "+f.Evidence)
	}
	slices.Sort(names)
	return names
}
