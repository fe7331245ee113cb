package supervisor

import (
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
)

// arbiterConfig translates the configuration into the arbiter's thresholds.
func arbiterConfig(cfg *configs.Config) arbiter.Config {
	c, a := arbiter.DefaultConfig(), cfg.Arbiter
	c.MinSources = a.MinSources
	c.MaxDistance, c.MaxJitter, c.MaxAge = a.MaxDistance.Std(), a.MaxJitter.Std(), a.MaxAge.Std()
	c.Settle = a.Settle
	c.ImprovementHold, c.DegradationHold = a.ImprovementHold.Std(), a.DegradationHold.Std()
	c.Hysteresis = a.Hysteresis
	c.LockThreshold = a.LockThreshold.Std()
	c.HoldoverMaxBound, c.HoldoverMaxTime = a.HoldoverMaxBound.Std(), a.HoldoverMaxTime.Std()
	switch a.Disagreement {
	case "better-bound":
		c.Disagreement = arbiter.BetterBound
	case "holdover":
		c.Disagreement = arbiter.HoldOver
	default:
		c.Disagreement = arbiter.KeepIncumbent
	}
	c.Witness, c.Quarantine, c.Combine = a.Witness, a.Quarantine.Std(), a.Combine
	c.LearnBias, c.BiasMaxAge = a.LearnBias, a.BiasMaxAge.Std()
	c.Limits = nil
	for _, limit := range a.Limits {
		c.Limits = append(c.Limits, limit.Std())
	}
	c.NotBefore, c.NotAfter = day(a.NotBefore), day(a.NotAfter)
	s := cfg.Clock.Step
	c.Step.AgreementWait = s.AgreementWait.Std()
	c.Step.Threshold, c.Step.Panic = s.Threshold.Std(), s.Panic.Std()
	c.Step.AtStart, c.Step.WhenRunning = s.AtStart, s.WhenRunning
	c.Step.MinAgreement = s.MinAgreement
	return c
}

// day is the beginning of a configured day, 0 for none. The configuration has been checked.
func day(date string) timescale.Instant {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return 0
	}
	return timescale.Instant(t.UnixNano())
}
