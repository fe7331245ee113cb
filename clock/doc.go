// Package clock is the only part of clockarbiter that touches a clock: it keeps the local timescale
// L, observes the host's clocks against it, and holds the one writer.
//
// The Kernel interface has three drivers: kernel (clock_adjtime on CLOCK_REALTIME, in
// kernel_linux.go and nowhere else), virtual (a simulated clock on top of L, harmless anywhere) and
// observe (measures, adjusts nothing). The package decides nothing about sources: it makes the
// system clock follow a target that somebody else chose.
package clock
