// Package arbiter decides which source of time the host follows, and says why.
//
// It is a pure core: Step takes the instant and everything known about every source and returns a
// Decision, a value that carries the verdict on each source, the rule that decided, what was
// rejected and what would change it. The arbiter reads no clock, does no I/O and starts no goroutine,
// and never acts on its own decision; the same inputs give the same decisions live, in the
// simulator and in a replay.
//
// The files follow the pipeline of one Step:
//
//	arbiter.go       pairs the candidates with what is remembered of them
//	eligibility.go   gives each the first state whose test it fails
//	advertised.go    names what shows in what sources say of themselves
//	local.go         notices pauses of the host and jumps of L itself
//	comparison.go    how each source differs from the reckoning, usually and of late
//	witness.go       takes the vote from sources that moved against the oscillator and the others
//	faults.go        takes the vote from PTP sources that are k UTC offsets off; names faults
//	intersection.go  finds the majority and the falsetickers
//	settle.go        makes new, returned and jumped sources wait
//	rank.go          orders those that may be followed
//	select.go        picks one, with hysteresis and timers; disagreement.go where none has a majority
//	step.go          orders, awaits or refuses a step
//	combine.go       follows near-equal sources together, less their biases; reckoning.go
//	leap.go          lets the survivors vote on leap seconds and TAI
//	mode.go          sets mode and target, holdover included
//	conclude.go      completes the decision with verdicts and events
package arbiter
