package sim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// host is the daemon without its shells: roster, arbiter and discipline over a simulated kernel.
type host struct {
	world      *world
	sensor     *sensor
	roster     *roster.Roster
	arbiter    *arbiter.Arbiter
	kernel     *clock.Virtual
	discipline *clock.Discipline
	decision   arbiter.Decision
	report     clock.TickReport
	interval   Elapsed
	asleep     Elapsed // paused or suspended until then
	suspended  bool
	mortal     bool // a kill is to come
	kept       kept
	deaf       bool    // no engine is up
	heard      Elapsed // when the newest sample came through
	late       []func(now Elapsed)
	err        error
}

func newHost(w *world) *host {
	spec := w.scenario.Clock
	h := &host{world: w, interval: Elapsed(orDefault(spec.Interval, Duration(250*time.Millisecond)))}
	now := func() timescale.Instant { return instant(w.l(w.now)) }
	initial := w.calendar() + time.Duration(spec.Offset) - time.Duration(math.Round(w.oscillator.Phase(0)))
	h.kernel = clock.NewVirtual(now, initial, 0)
	h.sensor = newSensor(w)
	h.mortal = slices.ContainsFunc(w.scenario.Faults, func(f Fault) bool { return f.Kind == FaultKill })
	h.begin()
	return h
}

// begin makes a daemon that knows nothing.
func (h *host) begin() {
	h.discipline = clock.NewDiscipline(h.kernel, h.limits())
	h.arbiter = arbiter.New(arbiterConfig(h.world.scenario.Arbiter))
	h.roster = roster.New(plan(h.world.scenario.Sources))
	h.arbiter.Consult(h.world.leapTable())
}

func (h *host) limits() clock.DisciplineOptions {
	spec := h.world.scenario.Clock
	return clock.DisciplineOptions{
		Interval:        time.Duration(h.interval),
		MaxSlewPPM:      orDefault(spec.MaxSlewPPM, 400),
		MaxFrequencyPPM: orDefault(spec.MaxFrequencyPPM, 500),
	}
}

// plan is what the daemon makes of its configuration.
func plan(specs []SourceSpec) []roster.Planned {
	var out []roster.Planned
	for _, s := range specs {
		p := roster.Planned{ID: s.ID, Kind: sources.PTP, Options: arbiter.Options{
			Prefer: s.Prefer, Trust: s.Trust, Require: s.Require, NoSelect: s.NoSelect, Floor: time.Duration(s.Floor),
		}}
		if s.Kind == NTPServer {
			p.Kind = sources.NTP
		}
		out = append(out, p)
	}
	return out
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
	c.MinSources = orDefault(s.MinSources, c.MinSources)
	c.NotBefore, _ = date(s.NotBefore) // checked before, as the answer
	c.NotAfter, _ = date(s.NotAfter)
	if s.Disagreement != "" {
		_ = c.Disagreement.UnmarshalText([]byte(s.Disagreement))
	}
	c.LearnBias = !s.ForgetBiases
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

// take is an engine's update. It waits while the host is paused and is lost while it is suspended.
func (h *host) take(now Elapsed, u sources.Update) {
	if h.suspended || h.deaf {
		return
	}
	h.awake(now, func(now Elapsed) {
		h.roster.Take(instant(h.world.l(now)), u)
		if len(u.Samples) > 0 {
			h.heard = now
		}
	})
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
	in := h.roster.Input(reading.At, reading.Offset)
	in.Temperature = h.sensor.read(now, h.world.oscillator.temperature())
	h.decision = h.arbiter.Step(in)
	h.report, err = h.discipline.Tick(command(h.decision))
	if err != nil {
		h.err = fmt.Errorf("steer the simulated clock: %w", err)
	}
	h.world.recorder.note(now, h.decision)
	h.keep(now)
}

func command(d arbiter.Decision) clock.TickInput {
	in := clock.TickInput{
		Target: d.Target, Step: d.Step, Bound: d.Bound.Or(0),
		Synchronised: d.Mode == arbiter.Locked || d.Mode == arbiter.Holdover,
		Leap:         d.Leap, Coast: d.Hold,
	}
	if tai, ok := d.TAI.Get(); ok {
		in.TAIOffset = sources.Some(int(tai / time.Second))
	}
	return in
}

// error is the system clock - UTC in ns.
func (h *host) error(now Elapsed) float64 {
	l := h.world.l(now)
	return float64(h.kernel.At(instant(l))-h.world.calendar()) + (l - float64(now))
}

// control is the system clock - the target that it follows in ns, and whether there is one.
func (h *host) control(now Elapsed) (float64, bool) {
	target, ok := h.decision.Target.Get()
	if !ok {
		return 0, false
	}
	at := instant(h.world.l(now))
	return float64(h.kernel.At(at) - target.Project(at).Offset), true
}

// bound is the published error bound in ns, infinite while there is none.
func (h *host) bound() float64 {
	if !h.report.Applied || !h.report.Command.Synchronised {
		return math.Inf(1)
	}
	return float64(h.report.Command.MaxError)
}
