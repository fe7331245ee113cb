// Package timescale holds the local timescale L as values: instants on it and the record of how
// another clock of the same host (the system clock) moved against it.
//
// It never reads a clock. The shells in package clock read clocks and put what they saw in here.
package timescale
