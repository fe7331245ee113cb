package servo

const (
	// noiseGain is the share of a phase error within the noise of the target that one interval
	// removes. The estimate behind the target is already as smooth as what is known of the source
	// permits: to smooth it again would only add delay. What the clock lags behind the estimate
	// was measured in the simulator (docs/benchmark.md).
	noiseGain = 0.9
	// clearGain is the share of a phase error clear of the noise. Half of it, so that a tick that
	// comes a whole interval late finds the error gone and not reversed.
	clearGain = 1.0 / 2
	// clear is the error, in standard deviations, at which the gain is midway.
	clear = 6.0
)

// gain returns the share of a phase error e to remove per interval, given one standard deviation of
// the noise in it, both in ns. It falls smoothly with the error, so the correction has no corner.
func gain(e, sd float64) float64 {
	r := e * e
	return noiseGain + (clearGain-noiseGain)*r/(r+clear*clear*sd*sd)
}
