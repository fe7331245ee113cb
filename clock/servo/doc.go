// Package servo computes the frequency that makes the system clock follow a target on the local
// timescale L. Values in, values out: it reads no clock, adjusts none and knows no source.
//
// It works in three parts, one file each:
//
//   - plant.go keeps track of the system clock - L. Its rate is the frequency in force, which is
//     known exactly, plus a constant of the oscillator (0 for the kernel's clock, which is driven by
//     the same counter as L; the configured error for the virtual clock). Observations correct the
//     prediction by as much as they scatter, which is learnt from one to the next and within their
//     windows, so the noise of reading the clock hardly reaches it, and neither the quantum of the
//     kernel's frequency nor the instant at which a command takes effect can add up to a drift. One
//     that is far out is not taken in; three that agree are where the clock is, and say by how much
//     its rate may have changed.
//   - gain.go chooses how much of the phase error to remove per interval: nearly all of it where the
//     error is within the noise of the target, half where it is clear of it.
//   - servo.go adds the target's own frequency, the slew, and the limits.
//
// Invariants:
//   - the frequency never exceeds the limits, whatever comes in;
//   - an error clear of the noise is never reversed, even when the next tick comes an interval late;
//     within the noise such a tick may overshoot by less than the noise;
//   - noise of the target is never amplified: every gain is in (0, 1).
package servo
