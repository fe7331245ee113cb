package sim

import (
	"fmt"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/clock/servo"
	"clockarbiter/clock/timescale"
	"clockarbiter/recording"
	"clockarbiter/sources"
)

// kept is what the daemon leaves for a successor once per second.
type kept struct {
	since Elapsed
	at    timescale.Instant
	state *recording.Keyframe
	servo servo.Memory
	rate  sources.Optional[sources.Rate]
}

// keep leaves a checkpoint where the daemon would.
func (h *host) keep(now Elapsed) {
	target, ok := h.decision.Target.Get()
	if !ok || h.kept.state != nil && now-h.kept.since < Elapsed(time.Second) {
		return
	}
	memory, _ := h.discipline.Memory()
	h.kept = kept{
		since: now, at: h.report.Before.At, state: recording.NewKeyframe(h.arbiter, h.roster, 0), servo: memory,
		rate: sources.Some(sources.Rate{FreqPPB: target.FreqPPB, SDPPB: max(target.FreqSDPPB, 50)}),
	}
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
	h.discipline = clock.NewDiscipline(h.kernel, h.limits())
	if cold || h.kept.state == nil {
		h.arbiter, h.roster = arbiter.New(arbiterConfig(h.world.scenario.Arbiter)), roster.New(plan(h.world.scenario.Sources))
		h.roster.Expect(h.kept.rate)
		if r, ok := h.kept.rate.Get(); ok {
			h.discipline.Resume(r.FreqPPB)
		}
		return nil
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
