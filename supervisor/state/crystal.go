package state

import (
	"fmt"
	"time"
)

// Crystal is how the oscillator's rate depends on temperature and time: the rate of UTC against
// CLOCK_MONOTONIC_RAW, in parts per billion, each with one standard deviation.
type Crystal struct {
	PPBPerKelvin      float64 `json:"ppb_per_kelvin"`
	PPBPerKelvinSD    float64 `json:"ppb_per_kelvin_sd"`
	AgeingPPBPerDay   float64 `json:"ageing_ppb_per_day"`
	AgeingPPBPerDaySD float64 `json:"ageing_ppb_per_day_sd"`
	// Coldest and Warmest are the temperatures within which it was learnt, in degrees Celsius.
	Coldest float64 `json:"coldest"`
	Warmest float64 `json:"warmest"`
	// Unexplained is the share of the rate's changes, as a ratio of variances, that temperature left.
	Unexplained float64 `json:"unexplained"`
	// Learnt is when it was last confirmed.
	Learnt time.Time `json:"learnt"`
}

// maxCoefficient is beyond any crystal, in ppb per kelvin and per day; the arbiter's limits are narrower.
const maxCoefficient = 10_000

// Check names what no crystal can be; nil for one that is kept, and for none.
func (c *Crystal) Check() error {
	if c == nil {
		return nil
	}
	within := func(v, least, most float64) bool { return v >= least && v <= most }
	switch {
	case !within(c.PPBPerKelvin, -maxCoefficient, maxCoefficient) || !within(c.PPBPerKelvinSD, 0, maxCoefficient):
		return fmt.Errorf("crystal: %g +- %g ppb per kelvin", c.PPBPerKelvin, c.PPBPerKelvinSD)
	case !within(c.AgeingPPBPerDay, -maxCoefficient, maxCoefficient) || !within(c.AgeingPPBPerDaySD, 0, maxCoefficient):
		return fmt.Errorf("crystal: %g +- %g ppb per day", c.AgeingPPBPerDay, c.AgeingPPBPerDaySD)
	case !within(c.Coldest, -100, c.Warmest) || !within(c.Warmest, c.Coldest, 200):
		return fmt.Errorf("crystal: learnt within %g to %g degrees Celsius", c.Coldest, c.Warmest)
	case !within(c.Unexplained, 0, 1):
		return fmt.Errorf("crystal: a share of %g", c.Unexplained)
	case !sensible(c.Learnt):
		return fmt.Errorf("crystal: it was learnt in the year %d", c.Learnt.Year())
	}
	return nil
}
