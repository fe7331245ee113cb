package servo

const (
	// minGain is the share of a phase error within the noise that one interval removes. The noise of
	// the target reaches the clock reduced by sqrt(g/(2-g)), about a quarter.
	minGain = 1.0 / 8
	// maxGain is the share of a phase error clear of the noise. Half of it, so that a tick that comes
	// a whole interval late finds the error gone and not reversed.
	maxGain = 1.0 / 2
	// clear is the error, in standard deviations, at which the gain is midway.
	clear = 3.0
)

// gain returns the share of a phase error e to remove per interval, given one standard deviation of
// the noise in it, both in ns. It rises smoothly with the error, so the correction has no corner.
func gain(e, sd float64) float64 {
	r := e * e
	return minGain + (maxGain-minGain)*r/(r+clear*clear*sd*sd)
}
