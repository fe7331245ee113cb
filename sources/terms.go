package sources

import "time"

// Terms are the parts of an error bound, by name, so that status and why can show what a bound
// is made of. Each is a half-width and never negative.
type Terms struct {
	// RootDelay is half the advertised delay from the server to its reference clock.
	RootDelay time.Duration
	// RootDispersion is as advertised (RFC 5905, 7.3).
	RootDispersion time.Duration
	// ClockAccuracy is the grandmaster's advertised accuracy (IEEE 1588-2019, table 5).
	ClockAccuracy time.Duration
	// PathAsymmetry is the part of the path's minimum delay that can be asymmetric: all that
	// a constant asymmetry can hide from the measurement.
	PathAsymmetry time.Duration
	// Reading is the dispersion of the newest sample.
	Reading time.Duration
	// Spread covers the random error of the estimate at its newest sample, and what the first samples of a track leave
	// possible beside it.
	Spread time.Duration
	// Growth is what the random error has grown by since then.
	Growth time.Duration
	// Floor is what was added because configuration believes no smaller bound.
	Floor time.Duration
}

// Systematic is the part that no number of samples makes smaller: what path and server can hide from them.
func (t Terms) Systematic() time.Duration {
	return Terms{RootDelay: t.RootDelay, RootDispersion: t.RootDispersion, ClockAccuracy: t.ClockAccuracy, PathAsymmetry: t.PathAsymmetry}.Sum()
}

// Sum returns the error bound.
func (t Terms) Sum() time.Duration {
	sum := t.RootDelay
	for _, d := range [...]time.Duration{
		t.RootDispersion, t.ClockAccuracy, t.PathAsymmetry, t.Reading, t.Spread, t.Growth, t.Floor,
	} {
		sum = min(sum+min(d, maxBound), maxBound)
	}
	return sum
}

// covering raises the spread until what a measurement can be off by is at least err.
func (t Terms) covering(err time.Duration) Terms {
	t.Spread += max(0, min(err, maxBound)-Terms{PathAsymmetry: t.PathAsymmetry, Reading: t.Reading, Spread: t.Spread, Growth: t.Growth}.Sum())
	return t
}

// withFloor raises the sum to floor.
func (t Terms) withFloor(floor time.Duration) Terms {
	t.Floor = 0
	t.Floor = max(0, min(floor, maxBound)-t.Sum())
	return t
}
