package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// host is the daemon without its shells: trackers, arbiter and discipline over a simulated kernel.
type host struct {
	world      *world
	tracked    []*tracked // sorted by ID
	arbiter    *arbiter.Arbiter
	kernel     *clock.Virtual
	discipline *clock.Discipline
	decision   arbiter.Decision
	report     clock.TickReport
	interval   Elapsed
	asleep     Elapsed // paused or suspended until then
	late       []func(now Elapsed)
	err        error
}

// tracked is one source as the daemon knows it.
type tracked struct {
	id      sources.ID
	kind    sources.Kind
	options arbiter.Options
	tracker *sources.Tracker
	report  sources.Optional[sources.Report]
}

func newHost(w *world) *host {
	spec := w.scenario.Clock
	h := &host{world: w, interval: Elapsed(orDefault(spec.Interval, Duration(250*time.Millisecond)))}
	now := func() timescale.Instant { return instant(w.l(w.now)) }
	initial := time.Duration(spec.Offset) - time.Duration(math.Round(w.oscillator.Phase(0)))
	h.kernel = clock.NewVirtual(now, initial, 0)
	h.discipline = clock.NewDiscipline(h.kernel, clock.DisciplineOptions{
		Interval:        time.Duration(h.interval),
		MaxSlewPPM:      orDefault(spec.MaxSlewPPM, 400),
		MaxFrequencyPPM: orDefault(spec.MaxFrequencyPPM, 500),
	})
	h.arbiter = arbiter.New(arbiterConfig(w.scenario.Arbiter))
	for _, s := range w.scenario.Sources {
		h.tracked = append(h.tracked, newTracked(s))
	}
	slices.SortFunc(h.tracked, func(a, b *tracked) int { return strings.Compare(string(a.id), string(b.id)) })
	return h
}

func newTracked(s SourceSpec) *tracked {
	t := &tracked{
		id: s.ID, kind: sources.PTP,
		options: arbiter.Options{Prefer: s.Prefer, Floor: time.Duration(s.Floor), Independence: string(s.ID)},
	}
	if s.Kind == NTPServer {
		t.kind = sources.NTP
	}
	t.tracker = sources.NewTracker(sources.TrackerConfig{Source: s.ID, Kind: t.kind, Floor: t.options.Floor})
	return t
}

func arbiterConfig(s ArbiterSpec) arbiter.Config {
	c := arbiter.DefaultConfig()
	c.Settle = orDefault(s.Settle, c.Settle)
	c.Step.Threshold = time.Duration(orDefault(s.StepThreshold, Duration(c.Step.Threshold)))
	c.Step.WhenRunning = s.StepWhenRunning
	if s.NeverStep {
		c.Step.Threshold = 0
	}
	c.ImprovementHold = time.Duration(orDefault(s.ImprovementHold, Duration(c.ImprovementHold)))
	c.HoldoverMaxBound = time.Duration(orDefault(s.HoldoverMaxBound, Duration(c.HoldoverMaxBound)))
	c.LockThreshold = time.Duration(orDefault(s.LockThreshold, Duration(c.LockThreshold)))
	return c
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// find returns the source of that name, nil without one.
func (h *host) find(id sources.ID) *tracked {
	for _, t := range h.tracked {
		if t.id == id {
			return t
		}
	}
	return nil
}

// take is an engine's update: a sample and the state of its source.
func (h *host) take(now Elapsed, s sources.Sample, r sources.Report) {
	h.awake(now, func(now Elapsed) {
		t := h.find(s.Source)
		t.tracker.Observe(instant(h.world.l(now)))
		t.tracker.Add(s)
		t.report = sources.Some(r)
	})
}

// tell is an engine's update without a sample.
func (h *host) tell(now Elapsed, r sources.Report) {
	h.awake(now, func(Elapsed) { h.find(r.Source).report = sources.Some(r) })
}

// awake does something now, or when the host is next awake.
func (h *host) awake(now Elapsed, do func(now Elapsed)) {
	if now < h.asleep {
		h.late = append(h.late, do)
		return
	}
	do(now)
}

// sleep keeps the host from doing anything until the given instant.
func (h *host) sleep(until Elapsed) {
	h.asleep = max(h.asleep, until)
	h.world.queue.schedule(h.asleep, func(now Elapsed) {
		if now < h.asleep {
			return
		}
		late := h.late
		h.late = nil
		for _, do := range late {
			do(now)
		}
	})
}

// tick is one control period, as the daemon's loop does it.
func (h *host) tick(now Elapsed) {
	if now < h.asleep || h.err != nil {
		return
	}
	reading, err := h.discipline.Read()
	if err != nil {
		h.err = fmt.Errorf("read the simulated clock: %w", err)
		return
	}
	h.decision = h.arbiter.Step(h.input(reading))
	h.report, err = h.discipline.Tick(command(h.decision))
	if err != nil {
		h.err = fmt.Errorf("steer the simulated clock: %w", err)
	}
	h.world.recorder.note(now, h.decision)
}

func (h *host) input(r clock.Reading) arbiter.Input {
	in := arbiter.Input{Now: r.At, System: r.Offset}
	for _, t := range h.tracked {
		c := arbiter.Candidate{ID: t.id, Kind: t.kind, Options: t.options, Report: t.report}
		if e, ok := t.tracker.Estimate(r.At); ok {
			c.Estimate = sources.Some(e)
		}
		in.Candidates = append(in.Candidates, c)
	}
	return in
}

func command(d arbiter.Decision) clock.TickInput {
	return clock.TickInput{
		Target: d.Target, Step: d.Step, Bound: d.Bound.Or(0),
		Synchronised: d.Mode == arbiter.Locked || d.Mode == arbiter.Holdover,
	}
}

// error is the system clock - UTC in ns.
func (h *host) error(now Elapsed) float64 {
	l := h.world.l(now)
	return float64(h.kernel.At(instant(l))) + (l - float64(now))
}

// control is the system clock - the target of the last decision in ns, and whether there is one.
func (h *host) control(now Elapsed) (float64, bool) {
	target, ok := h.decision.Target.Get()
	if !ok {
		return 0, false
	}
	at := instant(h.world.l(now))
	if id, selected := h.decision.Selected.Get(); selected {
		if e, known := h.find(id).tracker.Estimate(at); known {
			target = e
		}
	}
	return float64(h.kernel.At(at) - target.Project(at).Offset), true
}

// bound is the published error bound in ns, infinite while there is none.
func (h *host) bound() float64 {
	if !h.report.Applied || !h.report.Command.Synchronised {
		return math.Inf(1)
	}
	return float64(h.report.Command.MaxError)
}
