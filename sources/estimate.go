package sources

import (
	"time"

	"clockarbiter/clock/timescale"
)

// Estimate is what is known of one source at one instant.
type Estimate struct {
	// At is the instant on L for which everything below holds.
	At timescale.Instant
	// Offset is source UTC - L at At. Positive: L is slow.
	Offset time.Duration
	// FreqPPB is the rate of change of Offset, in nanoseconds per second of L. Positive: L runs
	// slow against the source.
	FreqPPB float64
	// OffsetSD and FreqSDPPB are one standard deviation of the random error of the two.
	OffsetSD  time.Duration
	FreqSDPPB float64
	// Jitter is the standard deviation of single samples about the fit.
	Jitter time.Duration
	// Bound is the half-width of the error interval: true UTC - L lies within Offset +- Bound,
	// as far as the source itself tells the truth about its root distance.
	Bound time.Duration
	// Samples counts the samples behind the estimate; LastSample is the instant of the newest.
	Samples    int
	LastSample timescale.Instant
}
