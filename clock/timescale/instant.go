package timescale

import "time"

// Instant is a point on the local timescale L, in nanoseconds. L advances with
// CLOCK_MONOTONIC_RAW and is offset by a constant chosen once, at start, so that an Instant
// is near the nanoseconds since the Unix epoch in UTC. Nobody steers L: a slew or a step of
// the system clock changes no Instant.
type Instant int64

// Add returns the instant d later than i.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns i - j: positive when i is later than j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// After reports whether i is later than j.
func (i Instant) After(j Instant) bool { return i > j }

// Before reports whether i is earlier than j.
func (i Instant) Before(j Instant) bool { return i < j }

// Near returns i as a wall-clock time. It differs from UTC by the offset of L from UTC, which
// is small at start and grows with the oscillator's frequency error: good for a person to
// read, never for arithmetic.
func (i Instant) Near() time.Time { return time.Unix(0, int64(i)).UTC() }
