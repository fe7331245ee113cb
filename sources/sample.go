package sources

import (
	"time"

	"clockarbiter/clock/timescale"
)

// ID names a source for as long as the configuration names it: "ntp:192.0.2.1",
// "ntp:pool.example.net/192.0.2.7", "ptp:eth0:24" (interface and domain). IDs order sources
// wherever an order is needed, so that no decision depends on the order of a map.
type ID string

// Kind is the protocol family by which a source reached this host.
type Kind uint8

// The kinds of source.
const (
	NTP Kind = iota + 1
	PTP
)

// Leap is a source's announcement for the end of the current UTC month (RFC 5905, figure 9; IEEE
// 1588-2019, 8.2.4).
type Leap uint8

// The leap announcements. An NTP source whose indicator is 3 (unsynchronised) is not a Leap but
// the condition Unsynchronised.
const (
	LeapNone Leap = iota
	LeapInsert
	LeapDelete
)

// Quality is what a source says of itself. Everything in it is advertised and may be a lie: it is
// a hint for ranking, and, as root delay and root dispersion, a part of the error bound.
type Quality struct {
	// Stratum is the NTP stratum of the server, 1 to 15 (RFC 5905, 7.3).
	Stratum Optional[uint8]
	// RootDelay and RootDispersion lead from the server to its reference clock.
	RootDelay, RootDispersion Optional[time.Duration]
	// Leap is the announced leap second.
	Leap Optional[Leap]
	// Reference is the reference ID of an NTP server or the grandmaster identity of a PTP
	// source ("001122.fffe.334455"), for people and for recognising a change.
	Reference string
	// ClockClass of the grandmaster (IEEE 1588-2019, table 4).
	ClockClass Optional[uint8]
	// ClockAccuracy is the grandmaster's advertised accuracy as a limit (IEEE 1588-2019,
	// table 5: 0x21 is 100 ns). Absent for "unknown" (0xFE).
	ClockAccuracy Optional[time.Duration]
	// StepsRemoved counts the communication paths to the grandmaster.
	StepsRemoved Optional[uint16]
	// UTCOffset is TAI - UTC as advertised, present only when it is flagged valid.
	UTCOffset Optional[time.Duration]
	// PTPTimescale tells whether the grandmaster's timescale is PTP (TAI) or arbitrary.
	PTPTimescale Optional[bool]
	// TimeTraceable tells whether the grandmaster claims traceability to a primary reference.
	TimeTraceable Optional[bool]
	// Authenticated tells whether the packets are authenticated (NTS or a symmetric key).
	Authenticated Optional[bool]
}

// Sample is one measurement of one source on the local timescale.
type Sample struct {
	Source ID
	// At is the instant on L at which Offset held.
	At timescale.Instant
	// Offset is source UTC - L. Positive: L is slow.
	Offset time.Duration
	// Delay is the round-trip delay behind this measurement, absent where there is no network
	// between the reading and the clock that was read (a PHC). Half of it, less what the path's
	// minimum explains, is how wrong Offset can be.
	Delay Optional[time.Duration]
	// Dispersion is the error of the reading itself, as a half-width: timestamp resolution,
	// reading window, precision of the peer. Never negative.
	Dispersion time.Duration
	Quality    Quality
}

// Condition is what an engine knows about its source apart from any measurement.
type Condition uint8

// The conditions, worst first.
const (
	// Unreachable: nothing is heard of the source.
	Unreachable Condition = iota + 1
	// Unsynchronised: the source answers, and says or shows that its time is not to be used.
	Unsynchronised
	// Measuring: the source answers and claims to be good.
	Measuring
)

// Report is an engine's latest word on a source: a level with an instant, never an edge.
type Report struct {
	Source    ID
	At        timescale.Instant
	Condition Condition
	// Detail says why in words, for a person: "port is FAULTY", "kiss code RATE".
	Detail string
	// Reach is the NTP reachability register, newest poll in the lowest bit.
	Reach   Optional[uint8]
	Quality Quality
}

// Update is what an adapter hands to the control loop in one piece.
type Update struct {
	// Answered tells that the engine itself answered since the last update, whatever it had to
	// say of its sources: an engine that never answers is hung, one whose sources are all
	// unreachable is not.
	Answered bool
	Samples  []Sample
	Reports  []Report
}
