package ptp

import "clockarbiter/clock/timescale"

// HostClock is what package ptp needs to know of this host's clocks: where an instant of one of
// them lies on the local timescale L. It must be safe for concurrent use.
type HostClock interface {
	// Now is the present instant on L.
	Now() timescale.Instant
	// Local converts a reading of CLOCK_REALTIME in nanoseconds since the epoch, taken within the
	// last few seconds, to L. It knows the slews and steps of the system clock in between, and
	// fails for a reading that it can no longer or not yet place.
	Local(realtimeNS int64) (timescale.Instant, error)
	// FromMonotonicRaw converts a reading of CLOCK_MONOTONIC_RAW in nanoseconds to L.
	FromMonotonicRaw(ns int64) timescale.Instant
}
