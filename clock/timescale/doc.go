// Package timescale holds the local timescale L as values: instants on it and the record of how
// another clock of the same host (the system clock) moved against it.
//
// It never reads a clock. The shells in package clock read clocks and put what they saw in here.
//
// Invariants:
//   - an Instant, once taken, never changes its meaning: nothing steers L;
//   - a Track answers only from what was observed. An observation changes no answer for an instant
//     before the observation that preceded it, so a step never disturbs an earlier mapping;
//   - where a reading cannot be placed on L without a guess, the answer is an error.
package timescale
