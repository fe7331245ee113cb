package supervisor

import (
	"time"

	"clockarbiter/recording"
	"clockarbiter/sources"
)

// Status is a whole snapshot of the supervisor, as `clockarbiter status --json` prints it. Times are
// in nanoseconds, frequencies in parts per billion; a value that is not known is null. Offsets are
// source - system: positive means that the system clock is slow.
type Status struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Driver  string `json:"driver"`
	// At is when the snapshot was taken, on the local timescale, which is near UTC. AgeNS is how
	// old it was when it was answered: a value that grows means that the loop is stuck.
	At    time.Time     `json:"at"`
	AgeNS time.Duration `json:"age_ns"`

	Mode     string                       `json:"mode"`
	Selected sources.Optional[sources.ID] `json:"selected"`
	Decision DecisionStatus               `json:"decision"`
	Clock    ClockStatus                  `json:"clock"`
	Sources  []SourceStatus               `json:"sources"`
	Children []ChildStatus                `json:"children"`
	Loop     LoopStatus                   `json:"loop"`
	// Newest is the newest decision in full, but for what Sources and Clock say already: the
	// candidates and the target.
	Newest recording.Found `json:"newest"`
	// Recording is empty where nothing is recorded.
	Recording recording.Stats `json:"recording"`

	Ownership OwnershipStatus `json:"ownership"`
	Leap      LeapStatus      `json:"leap"`
	// Oscillator is empty without a temperature sensor.
	Oscillator OscillatorStatus `json:"oscillator"`
	// Limits is how each limit of arbiter.limits stands.
	Limits []LimitStatus `json:"limits"`
}

// DecisionStatus is the decision in force and why.
type DecisionStatus struct {
	ID     string    `json:"id"`
	Rule   string    `json:"rule"`
	Reason string    `json:"reason"`
	Change string    `json:"change"`
	Faults []string  `json:"faults"`
	Since  time.Time `json:"since"`
}

// ClockStatus is the steered clock and what the writer last did to it.
type ClockStatus struct {
	// OffsetNS is target - system clock, BoundNS the half-width of the error interval of the
	// system clock about UTC: what is published as maxerror.
	OffsetNS sources.Optional[time.Duration] `json:"offset_ns"`
	BoundNS  sources.Optional[time.Duration] `json:"bound_ns"`
	// HostMinusSteeredNS is CLOCK_REALTIME - the steered clock, for driver virtual only. In a
	// test whose servers serve CLOCK_REALTIME it is the true error.
	HostMinusSteeredNS sources.Optional[time.Duration] `json:"host_minus_steered_ns"`
	FreqPPB            float64                         `json:"freq_ppb"`
	Synchronised       bool                            `json:"synchronised"`
	TAIOffset          int                             `json:"tai_offset_s"`
	Steps              int                             `json:"steps"`
	LastStepNS         sources.Optional[time.Duration] `json:"last_step_ns"`
	LastStepAt         sources.Optional[time.Time]     `json:"last_step_at"`
	LastWrite          string                          `json:"last_write"`
	LastError          string                          `json:"last_error"`
	ForeignWrites      int                             `json:"foreign_writes"`
	LastForeignWrite   string                          `json:"last_foreign_write"`
}

// LimitStatus is one limit of the clock's error bound.
type LimitStatus struct {
	LimitNS  time.Duration `json:"limit_ns"`
	Violated bool          `json:"violated"`
	// LeftNS is for how long it would hold if every source were lost now; null while it is violated, and
	// where it would hold for ever.
	LeftNS sources.Optional[time.Duration] `json:"left_ns"`
}

// SourceStatus is one source: the arbiter's verdict and the figures behind it.
type SourceStatus struct {
	ID       sources.ID                      `json:"id"`
	Mark     string                          `json:"mark"`
	State    string                          `json:"state"`
	Reason   string                          `json:"reason"`
	Detail   string                          `json:"detail"`
	OffsetNS sources.Optional[time.Duration] `json:"offset_ns"`
	BoundNS  sources.Optional[time.Duration] `json:"bound_ns"`
	JitterNS sources.Optional[time.Duration] `json:"jitter_ns"`
	FreqPPB  sources.Optional[float64]       `json:"freq_ppb"`
	Score    sources.Optional[float64]       `json:"score"`
	AgeNS    sources.Optional[time.Duration] `json:"age_ns"`
	Samples  int                             `json:"samples"`
	Rejected int                             `json:"rejected"`
	Reach    sources.Optional[uint8]         `json:"reach"`
	Quality  sources.Quality                 `json:"quality"`
	Delay    sources.Optional[time.Duration] `json:"delay_ns"`
	// BiasNS is the learnt constant offset, BiasAgeNS how long ago it was last confirmed.
	BiasNS    sources.Optional[time.Duration] `json:"bias_ns"`
	BiasAgeNS sources.Optional[time.Duration] `json:"bias_age_ns"`
}

// ChildStatus is one child process.
type ChildStatus struct {
	Name     string    `json:"name"`
	Phase    string    `json:"phase"`
	PID      int       `json:"pid"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
	LastExit string    `json:"last_exit"`
	Problem  string    `json:"problem"`
}

// LoopStatus is the control loop's own health.
type LoopStatus struct {
	Ticks uint64 `json:"ticks"`
	// PeriodNS is how far apart ticks are due.
	PeriodNS time.Duration `json:"period_ns"`
	// WorstLatenessNS is how late a tick ever came, LateTicks how many came later than one period.
	WorstLatenessNS time.Duration `json:"worst_lateness_ns"`
	LateTicks       uint64        `json:"late_ticks"`
	// The lateness that half of the ticks, 99 % and 99.9 % did not exceed, to a fifth.
	LatenessP50NS  time.Duration `json:"lateness_p50_ns"`
	LatenessP99NS  time.Duration `json:"lateness_p99_ns"`
	LatenessP999NS time.Duration `json:"lateness_p999_ns"`
	// WorstTickNS is the longest that a tick ever took: decide, steer, publish.
	WorstTickNS time.Duration `json:"worst_tick_ns"`
}
