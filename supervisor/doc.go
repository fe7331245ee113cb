// Package supervisor is the one process per host that owns the system clock. From a configuration
// and what the host is able to do it makes a Plan; the Plan's children are started and watched; what
// they measure goes into the control loop, which arbitrates, steers, and writes down every decision.
//
// The loop is one goroutine that owns the trackers, the arbiter and the writer. Nothing that a child
// does or fails to do can block it: adapters hand over updates through a bounded channel, process
// control happens elsewhere, and status is a snapshot that readers take without asking the loop.
// The package never talks to chronyd or ptp4l itself (packages chrony and ptp do) and never touches
// a clock itself (package clock does).
package supervisor
