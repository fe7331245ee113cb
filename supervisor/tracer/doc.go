// Package tracer names who writes to the system clock, and keeps everybody else from it where that is
// wanted, with BPF programs in the kernel.
//
// The programs sit at the end of the two functions that every write passes, do_adjtimex and
// do_settimeofday64, and at two hooks of the BPF LSM. No other system call runs through them. They are
// put together from instructions here: there is no C and no compiler. What they report of a caller holds
// for the instant of the call, in a container too, even if the caller has ended since.
//
// Nothing is pinned: the kernel drops programs and refusals with the process that loaded them, however it
// ends. The package writes to no clock, and nobody waits for it.
package tracer
