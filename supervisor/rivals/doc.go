// Package rivals names the processes of this host that could write to the system clock beside its owner:
// known clock daemons, and whatever else holds CAP_SYS_TIME, with pid, command, unit and container.
//
// The kernel does not say who called clock_settime, so what the package names are suspects, ranked, each
// with its reason. It reads /proc, bounded in processes, bytes and time, stops nobody and writes nothing.
package rivals
