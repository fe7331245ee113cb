// Package sources turns what the engines measure into what the arbiter can compare: one estimate
// of phase, frequency and error bound per source of time, all on the local timescale L.
//
// Values go in and values come out. The package reads no clock, does no I/O, starts no goroutine
// and knows neither chronyd nor ptp4l. It never touches the system clock and never asks where the
// system clock is: a sample is (source UTC - L), and nobody steers L.
//
// One sign everywhere: offset = source - local; a positive offset means that the local side is slow.
package sources
