package sim

import (
	"fmt"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
	"clockarbiter/supervisor/state"
)

// restart replaces the daemon by one that knows what the state file of its predecessor says.
func (h *host) restart(now Elapsed) {
	target, ok := h.decision.Target.Get()
	left := state.State{Saved: instant(float64(now)).Near(), Boot: "boot", FreqPPB: target.FreqPPB, SDPPB: target.FreqSDPPB}
	for _, b := range h.arbiter.Biases(h.decision.At) {
		left.Biases = append(left.Biases, state.Bias{ID: string(b.ID), Reference: b.Reference, Offset: b.Offset, SD: b.SD, Learnt: b.Learnt.Near()})
	}
	if c, known := h.arbiter.Crystal(h.decision.At).Get(); known {
		left.Crystal = &state.Crystal{
			PPBPerKelvin: c.PPBPerKelvin, PPBPerKelvinSD: c.PPBPerKelvinSD, AgeingPPBPerDay: c.AgeingPPBPerDay,
			AgeingPPBPerDaySD: c.AgeingPPBPerDaySD, Coldest: c.Coldest, Warmest: c.Warmest, Unexplained: c.Unexplained, Learnt: c.Learnt.Near(),
		}
	}
	h.begin()
	if !ok {
		return
	}
	if err := h.resume(now, left); err != nil {
		h.err = fmt.Errorf("restart the simulated host: %w", err)
	}
}

// resume takes up a state by way of its file.
func (h *host) resume(now Elapsed, left state.State) error {
	data, err := state.Encode(left)
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
			PPBPerKelvin: c.PPBPerKelvin, PPBPerKelvinSD: c.PPBPerKelvinSD, AgeingPPBPerDay: c.AgeingPPBPerDay,
			AgeingPPBPerDaySD: c.AgeingPPBPerDaySD, Coldest: c.Coldest, Warmest: c.Warmest, Unexplained: c.Unexplained, Learnt: Epoch.Add(c.Learnt.Sub(Epoch.Near())),
		})
	}
	return nil
}
