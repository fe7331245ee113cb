// Package arbiter decides which source of time the host follows, and says why.
//
// It is a pure core: Step takes the instant and everything known about every source and returns a
// Decision, a value that carries the verdict on each source, the rule that decided, what was
// rejected and what would change it. The arbiter reads no clock, does no I/O and starts no goroutine,
// and never acts on its own decision; the same inputs give the same decisions live, in the
// simulator and in a replay.
package arbiter
