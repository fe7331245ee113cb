// Package clock is the only part of clockarbiter that touches a clock: it keeps the local timescale
// L, observes the host's clocks against it, and holds the one writer.
//
// The Kernel interface has three drivers: kernel (System: clock_adjtime on CLOCK_REALTIME, in
// kernel_linux.go and nowhere else), virtual (Virtual: a simulated clock on top of L, harmless
// anywhere) and observe (Observer: measures, adjusts nothing). Discipline makes a driver's clock
// follow a target that somebody else chose; the package decides nothing about sources.
//
// Invariants:
//   - L is CLOCK_MONOTONIC_RAW plus a constant chosen by NewHost. Nothing that anybody does to the
//     system clock changes an instant on L. CLOCK_MONOTONIC_RAW does not count while the machine is
//     suspended, so after a resume L is behind UTC by the time asleep, which shows as a move of the
//     system clock that nobody commanded.
//   - d(system clock - L)/dL is the frequency in force, exactly, since both are driven by the same
//     counter. What moves the clock otherwise is a stranger. Watch tells it from our own writes, from
//     leap seconds and from suspend, and Discipline.Intrusions reports it.
//   - One command is one call of clock_adjtime, so the clock is never seen half adjusted. A refused
//     command is a *RefusedError and changes nothing.
//   - A command says that the clock is synchronised only together with a bound for its error.
//   - An observation costs eleven readings of a clock of about 0.3 us each, and the record of them is bounded.
package clock
