package servo

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Limits bound what the servo commands.
type Limits struct {
	// Interval is the control period, in which one command is in force.
	Interval time.Duration
	// MaxSlewPPM is the rate at which a phase error is removed at most.
	MaxSlewPPM float64
	// MaxFrequencyPPM is the largest frequency error of the oscillator that is believed.
	MaxFrequencyPPM float64
	// MaxTotalPPM is the largest sum of the two that the driver accepts.
	MaxTotalPPM float64
}

// Input is what the servo is told in one tick.
type Input struct {
	// At is the instant of the observation.
	At timescale.Instant
	// System is the system clock - L at At, Window the largest error of it.
	System, Window time.Duration
	// FreqPPB is the frequency correction that the clock says is in force.
	FreqPPB float64
	// Target is where the system clock should be on L, projected to At. Absent: nobody knows.
	Target sources.Optional[sources.Estimate]
	// Step will be added to the clock together with the new frequency; 0 for no step.
	Step time.Duration
	// Coast keeps the target's rate and removes no error.
	Coast bool
}

// Output is the servo's command and the reasons for it.
type Output struct {
	// FreqPPB is the frequency correction to set, in parts per billion, positive: run faster.
	// Absent: leave it.
	FreqPPB sources.Optional[float64]
	// BasePPB is the part of it that keeps the rate, SlewPPB the part that removes the error.
	BasePPB, SlewPPB float64
	// Error is target - system clock before the step, Remaining the same after it. Positive: the
	// system clock is slow. Absent without a target.
	Error, Remaining sources.Optional[time.Duration]
	// Doubt is by how much both may be wrong either way, because of what is not known of where the system clock is.
	Doubt time.Duration
	// Unexplained is by how much the clock moved since the last tick that neither its frequency nor
	// our steps explain. 0 within the error of observation.
	Unexplained time.Duration
	// Reason says in words what the frequency is for.
	Reason string
}

// Servo follows a target. Its state is what it knows of the clock; the zero value of it knows
// nothing. A Servo is not safe for concurrent use.
type Servo struct {
	limits Limits
	plant  plant
	// rate is the target's frequency when there last was a target.
	rate sources.Optional[float64]
	// resumed: rate is that of an earlier run.
	resumed bool
}

// New returns a servo that knows nothing of the clock yet.
func New(l Limits) *Servo { return &Servo{limits: l} }

// Stepped tells the servo that d was added to the clock since the last Step.
func (s *Servo) Stepped(d time.Duration) { s.plant.step(d) }

// Commanded tells the servo when the frequency of the last Step was written: what was in force until then was the
// one before.
func (s *Servo) Commanded(at timescale.Instant) { s.plant.commanded = at }

// Step takes one observation and returns the frequency for the next interval.
func (s *Servo) Step(in Input) Output {
	out := Output{Unexplained: s.plant.observe(in.At, in.System, in.Window, in.FreqPPB)}
	out.Doubt = time.Duration(math.Ceil(s.plant.doubt()))
	if target, ok := in.Target.Get(); ok {
		s.rate, s.resumed = sources.Some(target.FreqPPB), false
		out = s.follow(out, target, in.Step)
		if in.Coast {
			out.SlewPPB, out.Reason = 0, "no correction: keep the rate of the target"
			return s.total(out)
		}
		return out
	}
	return s.coast(out)
}

// follow makes the clock run like the target and removes the error that remains after the step.
func (s *Servo) follow(out Output, target sources.Estimate, step time.Duration) Output {
	before := s.plant.errorTo(target.Offset)
	remaining := s.plant.errorTo(target.Offset - step)
	out.Error, out.Remaining = nanoseconds(before), nanoseconds(remaining)
	out.BasePPB = s.base(target.FreqPPB)

	sd := math.Hypot(float64(target.OffsetSD), math.Sqrt(s.plant.pp))
	g := gain(remaining, max(sd, readFloor))
	wanted := g * remaining / s.limits.Interval.Seconds()
	out.SlewPPB = clamp(wanted, s.limits.MaxSlewPPM*1000)
	out.Reason = fmt.Sprintf("follow: remove %.0f %% of the error per interval", 100*g)
	if out.SlewPPB != wanted {
		out.Reason = fmt.Sprintf("slew at the limit of %g ppm", s.limits.MaxSlewPPM)
	}
	return s.total(out)
}

// coast keeps the rate of the last target and drops the slew: without a target there is no error to
// remove, and a slew left in force would run away.
func (s *Servo) coast(out Output) Output {
	rate, ok := s.rate.Get()
	if !ok || s.unsure() {
		out.Reason = "no target yet: frequency left as found"
		return out
	}
	out.BasePPB = s.base(rate)
	out.Reason = "no target: hold the last frequency"
	return s.total(out)
}

// base returns the frequency at which the clock runs like a target of that rate.
func (s *Servo) base(ratePPB float64) float64 {
	return clamp(ratePPB-s.plant.bias, s.limits.MaxFrequencyPPM*1000)
}

func (s *Servo) total(out Output) Output {
	out.FreqPPB = sources.Some(clamp(out.BasePPB+out.SlewPPB, s.limits.MaxTotalPPM*1000))
	return out
}

// clamp limits v to +-limit; what is not a number becomes 0.
func clamp(v, limit float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return max(-limit, min(limit, v))
}

func nanoseconds(ns float64) sources.Optional[time.Duration] {
	return sources.Some(time.Duration(math.Round(ns)))
}
