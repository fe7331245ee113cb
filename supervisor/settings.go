package supervisor

import (
	"clockarbiter/arbiter"
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
	s := cfg.Clock.Step
	c.Step.Threshold, c.Step.Panic = s.Threshold.Std(), s.Panic.Std()
	c.Step.AtStart, c.Step.WhenRunning = s.AtStart, s.WhenRunning
	c.Step.MinAgreement = s.MinAgreement
	return c
}
