package sim

import (
	"fmt"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock"
	"clockarbiter/clock/servo"
	"clockarbiter/clock/timescale"
	"clockarbiter/recording"
	"clockarbiter/sources"
	"clockarbiter/supervisor/state"
)

// kept is what the daemon leaves for a successor once per second.
type kept struct {
	since Elapsed
	at    timescale.Instant
	state *recording.Keyframe
	servo servo.Memory
	file  *state.State
}

// keep leaves a checkpoint where the daemon would.
func (h *host) keep(now Elapsed) {
	target, ok := h.decision.Target.Get()
	if !ok || !h.mortal || h.kept.state != nil && now-h.kept.since < Elapsed(time.Second) {
		return
	}
	memory, _ := h.discipline.Memory()
	h.kept = kept{
		since: now, at: h.report.Before.At, state: recording.NewKeyframe(h.arbiter, h.roster, 0), servo: memory,
		file: h.leave(now, target),
	}
}

// leave is the state file.
func (h *host) leave(now Elapsed, target sources.Estimate) *state.State {
	left := &state.State{Saved: instant(float64(now)).Near(), Boot: "boot", FreqPPB: target.FreqPPB, SDPPB: max(target.FreqSDPPB, 50)}
	for _, b := range h.arbiter.Biases(h.decision.At) {
		left.Biases = append(left.Biases, state.Bias{ID: string(b.ID), Reference: b.Reference, Offset: b.Offset, SD: b.SD, Learnt: b.Learnt.Near()})
	}
	if c, known := h.arbiter.Crystal(h.decision.At).Get(); known {
		left.Crystal = &state.Crystal{
			PPBPerKelvin: c.PPBPerKelvin, PPBPerKelvinSD: c.PPBPerKelvinSD, AgeingPPBPerDay: c.AgeingPPBPerDay, AgeingPPBPerDaySD: c.AgeingPPBPerDaySD,
			Coldest: c.Coldest, Warmest: c.Warmest, Unexplained: c.Unexplained, Learnt: c.Learnt.Near(),
		}
	}
	return left
}

// releaseAfter is when the unit's ExecStopPost has ended a slew that the killed daemon left.
const releaseAfter = Elapsed(50 * time.Millisecond)

// kill ends the daemon, and starts its successor some time later. The clock keeps the frequency in force.
func (h *host) kill(now Elapsed, f Fault) {
	h.deaf = true
	h.asleep = max(h.asleep, now+Elapsed(f.For))
	h.late = nil
	h.world.queue.schedule(now+releaseAfter, func(Elapsed) {
		f, ok := h.kept.servo.ReleasePPB()
		if !ok {
			return
		}
		if err := h.kernel.Apply(clock.Command{FreqPPB: sources.Some(f)}); err != nil {
			h.err = fmt.Errorf("release the simulated clock: %w", err)
		}
	})
	h.world.queue.schedule(now+Elapsed(f.For), func(now Elapsed) {
		if err := h.succeed(now, f.Value == 1); err != nil {
			h.err = fmt.Errorf("start a successor: %w", err)
		}
	})
	h.world.queue.schedule(now+Elapsed(f.For)+Elapsed(f.Offset), func(Elapsed) { h.deaf = false })
}

// succeed is the start of a new daemon, with what the old one left.
func (h *host) succeed(now Elapsed, cold bool) error {
	h.begin()
	if cold || h.kept.state == nil {
		return h.resume(now)
	}
	a, r, err := h.kept.state.Restore()
	if err != nil {
		return err
	}
	h.arbiter, h.roster = a, r
	at := instant(h.world.l(now))
	in := r.Input(h.kept.at, 0)
	in.Now = at
	a.Resume(in)
	h.discipline.Recall(h.kept.servo)
	var silent sources.Update
	for _, s := range r.Sources() {
		silent.Reports = append(silent.Reports, sources.Report{Source: s.ID, At: at, Condition: sources.Unreachable, Detail: "its engine starts"})
	}
	r.Take(at, silent)
	return nil
}

// resume takes up the state file by way of its encoding.
func (h *host) resume(now Elapsed) error {
	left := h.kept.file
	if left == nil {
		return nil
	}
	data, err := state.Encode(*left)
	if err != nil {
		return err
	}
	found, err := state.Decode(data)
	if err != nil {
		return err
	}
	freq, sd, ok := found.Rate(instant(float64(now)).Near(), "boot")
	if !ok {
		return fmt.Errorf("the rate of %s is not used", found.Saved)
	}
	h.roster.Expect(sources.Some(sources.Rate{FreqPPB: freq, SDPPB: sd}))
	h.discipline.Resume(freq)
	var biases []arbiter.Bias
	for _, b := range found.Biases {
		biases = append(biases, arbiter.Bias{ID: sources.ID(b.ID), Reference: b.Reference, Offset: b.Offset, SD: b.SD, Learnt: Epoch.Add(b.Learnt.Sub(Epoch.Near()))})
	}
	h.arbiter.Inherit(biases)
	if c := found.Crystal; c != nil {
		h.arbiter.InheritCrystal(arbiter.Crystal{
			PPBPerKelvin: c.PPBPerKelvin, PPBPerKelvinSD: c.PPBPerKelvinSD, AgeingPPBPerDay: c.AgeingPPBPerDay, AgeingPPBPerDaySD: c.AgeingPPBPerDaySD,
			Coldest: c.Coldest, Warmest: c.Warmest, Unexplained: c.Unexplained, Learnt: Epoch.Add(c.Learnt.Sub(Epoch.Near())),
		})
	}
	return nil
}
