// Package sim is a deterministic simulator of a host that keeps time: oscillators, kernel clock,
// network paths, sources and faults, as discrete events on a virtual time axis.
//
// It drives the very packages of the daemon (sources, arbiter, clock and clock/servo) in a closed
// loop and knows what they cannot know: the truth. One seed gives one run, bit for bit; nothing
// here reads a clock, sleeps or starts a goroutine, and nothing outside tests and the simulate
// command imports it.
//
// Time axes: true time is nanoseconds since the start of the scenario and is what events are
// ordered by; UTC is true time plus Epoch; the local timescale L is UTC plus the oscillator's
// phase. Phases and errors are float64 nanoseconds; frequencies of oscillators are parts per
// billion, which is nanoseconds per second.
package sim
