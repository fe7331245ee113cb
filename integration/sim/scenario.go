package sim

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/BurntSushi/toml"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Scenario is a whole experiment: an oscillator, sources behind paths, the daemon's settings, faults
// and assertions on a timeline.
type Scenario struct {
	Name string `toml:"name"`
	// Seed makes the run what it is: one seed, one run.
	Seed     uint64   `toml:"seed"`
	Duration Duration `toml:"duration"`
	// Date is UTC at the start; empty: Epoch. L begins at Epoch all the same: it is near UTC live, and only
	// what it shows to people would differ.
	Date string `toml:"date"`
	// LeapTable is what the host's leap second table has for the end of that month: "insert", "delete" or
	// "none". Empty: there is no table.
	LeapTable string `toml:"leap_table"`
	// Settle is the time that the statistics leave out.
	Settle     Duration       `toml:"settle"`
	Oscillator OscillatorSpec `toml:"oscillator"`
	Sensor     SensorSpec     `toml:"sensor"`
	Clock      ClockSpec      `toml:"clock"`
	Arbiter    ArbiterSpec    `toml:"arbiter"`
	Sources    []SourceSpec   `toml:"source"`
	Faults     []Fault        `toml:"fault"`
	Assertions []Assertion    `toml:"assert"`
}

// SensorSpec is a temperature sensor near the oscillator.
type SensorSpec struct {
	// Kind is "" for none, "good", "stuck" at the temperature of the start, "nonsense" for random values, or
	// "lost" for one that is good and gone from At on; "wild" is good and nonsense from At on.
	Kind string   `toml:"kind"`
	At   Duration `toml:"at"`
	// Quantum is its resolution in kelvin; 0: exact.
	Quantum float64 `toml:"quantum_kelvin"`
}

// ClockSpec is the system clock and its discipline.
type ClockSpec struct {
	// Offset is the system clock - UTC at the start; L itself starts where the oscillator says.
	Offset Duration `toml:"offset"`
	// Interval is the control period, default 250 ms.
	Interval Duration `toml:"interval"`
	// MaxSlewPPM and MaxFrequencyPPM are the discipline's limits, default 400 and 500.
	MaxSlewPPM      float64 `toml:"max_slew_ppm"`
	MaxFrequencyPPM float64 `toml:"max_frequency_ppm"`
}

// ArbiterSpec overrides the arbiter's defaults where it is not zero.
type ArbiterSpec struct {
	Settle           int      `toml:"settle"`
	StepThreshold    Duration `toml:"step_threshold"`
	NeverStep        bool     `toml:"never_step"`
	StepWhenRunning  bool     `toml:"step_when_running"`
	ImprovementHold  Duration `toml:"improvement_hold"`
	HoldoverMaxBound Duration `toml:"holdover_max_bound"`
	LockThreshold    Duration `toml:"lock_threshold"`
	MinSources       int      `toml:"min_sources"`
	// Disagreement is the configuration's word: "keep", "better-bound" or "holdover".
	Disagreement string `toml:"disagreement"`
	// NotBefore and NotAfter are dates, "2026-01-01".
	NotBefore string `toml:"not_before"`
	NotAfter  string `toml:"not_after"`
	// ForgetBiases learns no biases.
	ForgetBiases bool `toml:"forget_biases"`
}

// SourceKind is how a source reaches the host.
type SourceKind string

// The kinds of source.
const (
	// NTPServer exchanges four timestamps per poll.
	NTPServer SourceKind = "ntp"
	// PHC is a hardware clock that an engine steers, read with noise.
	PHC SourceKind = "phc"
	// PTPSoftware exchanges four software timestamps per interval.
	PTPSoftware SourceKind = "ptp"
)

// SourceSpec is one source of time.
type SourceSpec struct {
	ID   sources.ID `toml:"id"`
	Kind SourceKind `toml:"kind"`
	// Interval is the distance of samples: the poll of an NTP server.
	Interval Duration `toml:"interval"`
	// Start is when the first sample is taken. Burst is the number of samples, 2 s apart, that an NTP
	// server is asked for at the start.
	Start Duration `toml:"start"`
	Burst int      `toml:"burst"`

	// Noise is the deviation of a reading in ns, drawn once per Hold.
	Noise     float64  `toml:"noise_ns"`
	Hold      Duration `toml:"hold"`
	HoldPhase Duration `toml:"hold_phase"`
	// Dispersion is what the engine claims for a reading.
	Dispersion Duration `toml:"dispersion"`
	// Servo, for a PHC, steers it like ptp4l does, from one noisy reading of the grandmaster per
	// second; without it the PHC is right.
	Servo ServoSpec `toml:"servo"`

	Path PathSpec `toml:"path"`

	Prefer         bool     `toml:"prefer"`
	Trust          bool     `toml:"trust"`
	Require        bool     `toml:"require"`
	NoSelect       bool     `toml:"noselect"`
	Floor          Duration `toml:"floor"`
	Stratum        uint8    `toml:"stratum"`
	RootDelay      Duration `toml:"root_delay"`
	RootDispersion Duration `toml:"root_dispersion"`
	ClockClass     uint8    `toml:"clock_class"`
	ClockAccuracy  Duration `toml:"clock_accuracy"`
	UTCOffset      Duration `toml:"utc_offset"`
	Grandmaster    string   `toml:"grandmaster"`
	// Flags is what a grandmaster does not flag: "no-utc-offset", "arbitrary-timescale", or neither.
	Flags string `toml:"flags"`
	// Reference is the reference ID of an NTP server, default "GPS".
	Reference string `toml:"reference"`
	// Bias is a constant error of the source's own time.
	Bias Duration `toml:"bias"`
}

// ServoSpec is the engine's servo behind a PHC.
type ServoSpec struct {
	// Noise is the deviation of the engine's readings of the grandmaster in ns; 0: no servo.
	Noise float64 `toml:"noise_ns"`
	// RandomWalkFM and FrequencyPPB describe the PHC's oscillator.
	RandomWalkFM float64 `toml:"random_walk_fm"`
	FrequencyPPB float64 `toml:"frequency_ppb"`
}

// PathSpec is a network path.
type PathSpec struct {
	// Delay is the smallest one-way delay, to the server and back alike.
	Delay Duration `toml:"delay"`
	// Asymmetry is the delay there less the delay back: it shifts the measured offset by half.
	Asymmetry Duration `toml:"asymmetry"`
	// Jitter is the mean of the random delay each way, Distribution its law: "exponential" (the
	// default), "gamma" or "pareto" of the given Shape.
	Jitter       Duration `toml:"jitter"`
	Distribution string   `toml:"distribution"`
	Shape        float64  `toml:"shape"`
	// Loss is the probability that a packet is lost.
	Loss float64 `toml:"loss"`
}

// FaultKind names a fault.
type FaultKind string

// The faults. Value and For mean what each says.
const (
	FaultDie         FaultKind = "die"         // the engine says unreachable, no more samples
	FaultHang        FaultKind = "hang"        // no more samples, and nobody says so
	FaultReturn      FaultKind = "return"      // ends die and hang
	FaultLie         FaultKind = "lie"         // adds Offset to the source's time
	FaultRamp        FaultKind = "ramp"        // adds Value ppb to the source's rate, For that long
	FaultNoise       FaultKind = "noise"       // multiplies the noise and the jitter by Value
	FaultCongestion  FaultKind = "congestion"  // adds Offset of mean jitter each way, For that long
	FaultRoute       FaultKind = "route"       // sets the path's Delay to Offset
	FaultAsymmetry   FaultKind = "asymmetry"   // sets the path's asymmetry to Offset
	FaultClass       FaultKind = "class"       // sets the clock class to Value
	FaultAccuracy    FaultKind = "accuracy"    // sets the clock accuracy to Offset
	FaultGrandmaster FaultKind = "grandmaster" // changes the grandmaster to Name
	FaultUTCOffset   FaultKind = "utc-offset"  // the source is off by Value whole UTC offsets
	FaultLeap        FaultKind = "leap"        // announces a leap second: Value 1 inserts, -1 deletes, 0 neither
	FaultLeapSecond  FaultKind = "leap-second" // UTC has a second more, Value 1, or less, -1
	FaultWander      FaultKind = "wander"      // multiplies w by Value
	FaultFrequency   FaultKind = "frequency"   // adds Value ppb to the oscillator
	FaultSuspend     FaultKind = "suspend"     // stops L, and the host, For that long
	FaultPause       FaultKind = "pause"       // the host does nothing For that long; L goes on
	FaultForeignStep FaultKind = "foreign-step"
	FaultFlap        FaultKind = "flap"      // dies and returns in turn, every Offset, For that long
	FaultDate        FaultKind = "date"      // sets the source's clock to the date Name, right again without one
	FaultFreeze      FaultKind = "freeze"    // the engine shows its newest sample again and again
	FaultStop        FaultKind = "stop"      // the source's clock stands still, For that long
	FaultFuture      FaultKind = "future"    // its samples are dated Offset ahead
	FaultFlags       FaultKind = "flags"     // what the grandmaster does not flag becomes Name
	FaultReference   FaultKind = "reference" // the reference ID of an NTP server becomes Name
	// FaultKill is SIGKILL: a successor starts For later and hears its engines Offset after that. Value 1: it
	// finds no checkpoint, only the state file.
	FaultKill FaultKind = "kill"
)

// Fault is something that goes wrong at one instant.
type Fault struct {
	At     Duration   `toml:"at"`
	Kind   FaultKind  `toml:"kind"`
	Source sources.ID `toml:"source"` // empty: all of them, where a source is meant
	Value  float64    `toml:"value"`
	Offset Duration   `toml:"offset"`
	For    Duration   `toml:"for"`
	Name   string     `toml:"name"`
}

// Assertion is what must hold at an instant, or from an instant to another.
type Assertion struct {
	At   Duration `toml:"at"`
	From Duration `toml:"from"`
	To   Duration `toml:"to"`
	// Mode, Selected and State are names as status shows them; State is that of Source. Each is
	// checked when it is not empty.
	Mode     string     `toml:"mode"`
	Selected sources.ID `toml:"selected"`
	Source   sources.ID `toml:"source"`
	State    string     `toml:"state"`
	// MaxError limits the true error of the system clock, MaxRMS its root mean square.
	MaxError Duration `toml:"max_error"`
	MaxRMS   Duration `toml:"max_rms"`
	// Bounded asks that the published bound contains the truth in this share of the samples.
	Bounded float64 `toml:"bounded"`
}

// LoadScenario parses a scenario strictly: an unknown key is an error, and so is a value that makes
// no sense. All errors are returned together.
func LoadScenario(data []byte) (Scenario, error) {
	var s Scenario
	meta, err := toml.NewDecoder(bytes.NewReader(data)).Decode(&s)
	if err != nil {
		return Scenario{}, fmt.Errorf("parse scenario: %w", err)
	}
	var errs []error
	for _, key := range meta.Undecoded() {
		errs = append(errs, fmt.Errorf("unknown key %q", key.String()))
	}
	errs = append(errs, s.check()...)
	return s, errors.Join(errs...)
}

// check lists what makes no sense.
func (s Scenario) check() []error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Duration <= 0 || s.Duration > maxDuration {
		complain("duration %v: want more than 0 and at most %v", s.Duration, maxDuration)
	}
	if s.Settle < 0 || s.Settle > s.Duration {
		complain("settle %v: want 0 to the duration", s.Settle)
	}
	errs = append(errs, s.Clock.check()...)
	errs = append(errs, s.Arbiter.check()...)
	errs = append(errs, s.Oscillator.check()...)
	if _, err := s.date(); err != nil {
		complain("date: %w", err)
	}
	if _, ok := leapTables[s.LeapTable]; !ok && s.LeapTable != "" {
		complain("leap_table %q: want insert, delete or none", s.LeapTable)
	}
	switch s.Sensor.Kind {
	case "", "good", "stuck", "nonsense", "lost", "wild":
	default:
		complain("sensor %q: want good, stuck, nonsense, lost or wild", s.Sensor.Kind)
	}
	if s.Sensor.At < 0 || !(s.Sensor.Quantum >= 0 && s.Sensor.Quantum <= 100) {
		complain("sensor: want no negative at and a quantum of 0 to 100 kelvin")
	}
	names := map[sources.ID]bool{"": true}
	for i, src := range s.Sources {
		if names[src.ID] {
			complain("source %d: id %q is empty or not unique", i+1, src.ID)
		}
		names[src.ID] = true
		errs = append(errs, src.check()...)
	}
	for i, f := range s.Faults {
		if !names[f.Source] {
			complain("fault %d: no source %q", i+1, f.Source)
		}
		errs = append(errs, f.check(i)...)
	}
	for i, a := range s.Assertions {
		errs = append(errs, a.check(i, names)...)
	}
	return errs
}

const (
	// maxDuration is a month: longer runs would only be refused later, for want of memory.
	maxDuration = Duration(31 * 24 * 3600 * 1_000_000_000)
	// maxRatePPB is the largest believable rate: L never runs backwards.
	maxRatePPB = 1e7
	// maxValue is the largest of other values, in ns or as a factor.
	maxValue = 1e12
)

// within reports whether v is a number of at most that magnitude.
func within(v, limit float64) bool { return v >= -limit && v <= limit }

// sane reports whether every duration is within maxDuration either way.
func sane(durations ...Duration) bool {
	for _, d := range durations {
		if d < -maxDuration || d > maxDuration {
			return false
		}
	}
	return true
}

func (c ClockSpec) check() []error {
	var errs []error
	if c.Interval != 0 && (c.Interval < Duration(10_000_000) || c.Interval > Duration(60_000_000_000)) {
		errs = append(errs, fmt.Errorf("clock interval %v: want 10ms to 1m", c.Interval))
	}
	if !(c.MaxSlewPPM >= 0 && c.MaxSlewPPM <= 500) || !(c.MaxFrequencyPPM >= 0 && c.MaxFrequencyPPM <= 500) {
		errs = append(errs, errors.New("clock: max_slew_ppm and max_frequency_ppm want 0 to 500"))
	}
	if !sane(c.Offset) {
		errs = append(errs, fmt.Errorf("clock offset %v: want at most %v", c.Offset, maxDuration))
	}
	return errs
}

func (o OscillatorSpec) check() []error {
	t := o.Temperature
	kelvin := t.AmplitudeKelvin
	ok := sane(o.Offset, t.Period) && within(o.FrequencyPPB, maxRatePPB) && within(o.WhiteFM, maxValue) &&
		within(o.FlickerFM, maxRatePPB) && within(o.RandomWalkFM, 1e-3) && within(o.AgeingPPBPerDay, maxRatePPB) &&
		within(t.AmplitudeKelvin, 1e3) && t.Period >= 0
	for _, r := range t.Ramps {
		ok = ok && sane(r.At, r.Over) && r.Over >= 0
		kelvin = math.Abs(kelvin) + math.Abs(r.Kelvin)
	}
	if !ok || !within(kelvin*t.PPBPerKelvin, maxRatePPB) {
		return []error{fmt.Errorf("oscillator: a value is not finite or beyond belief (rates to %g ppb)", maxRatePPB)}
	}
	return nil
}

func (s SourceSpec) check() []error {
	var errs []error
	complain := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("source %q: "+format, append([]any{s.ID}, args...)...))
	}
	switch s.Kind {
	case NTPServer, PHC, PTPSoftware:
	default:
		complain("kind %q: want ntp, phc or ptp", s.Kind)
	}
	if s.Interval < Duration(1_000_000) {
		complain("interval %v: want at least 1ms", s.Interval)
	}
	if s.Start < 0 || s.Burst < 0 || s.Noise < 0 || s.Hold < 0 || s.Dispersion < 0 {
		complain("start, burst, noise_ns, hold and dispersion: want no negative value")
	}
	if !within(s.Noise, maxValue) || !within(s.Servo.Noise, maxValue) || s.Servo.Noise < 0 ||
		!within(s.Servo.RandomWalkFM, 1e-3) || !within(s.Servo.FrequencyPPB, maxRatePPB) {
		complain("noise or servo: a value is not finite or beyond belief")
	}
	if !sane(s.Interval, s.Start, s.Hold, s.HoldPhase, s.Dispersion, s.Floor, s.RootDelay, s.RootDispersion, s.ClockAccuracy, s.Bias) ||
		s.Hold != 0 && s.Hold < Duration(1_000_000) {
		complain("durations: want at most %v, hold at least 1ms", maxDuration)
	}
	errs = append(errs, checkFlags(fmt.Sprintf("source %q", s.ID), s.Flags)...)
	errs = append(errs, s.Path.check(s.ID)...)
	return errs
}

// What a grandmaster may not flag.
const (
	flagsNoUTCOffset = "no-utc-offset"
	flagsArbitrary   = "arbitrary-timescale"
)

func checkFlags(of, flags string) []error {
	if flags != "" && flags != flagsNoUTCOffset && flags != flagsArbitrary {
		return []error{fmt.Errorf("%s: flags %q: want %s, %s or nothing", of, flags, flagsNoUTCOffset, flagsArbitrary)}
	}
	return nil
}

func (a ArbiterSpec) check() []error {
	var errs []error
	for _, d := range []string{a.NotBefore, a.NotAfter} {
		if _, err := date(d); err != nil {
			errs = append(errs, fmt.Errorf("arbiter: %w", err))
		}
	}
	if a.Disagreement != "" {
		if err := new(arbiter.Answer).UnmarshalText([]byte(a.Disagreement)); err != nil {
			errs = append(errs, fmt.Errorf("arbiter: %w", err))
		}
	}
	return errs
}

// date reads a date as an instant of UTC, 0 where there is none.
func date(s string) (timescale.Instant, error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("date %q: want the form 2026-01-31", s)
	}
	return timescale.Instant(t.UnixNano()), nil
}

func (p PathSpec) check(id sources.ID) []error {
	var errs []error
	switch p.Distribution {
	case "", "exponential":
	case "gamma":
		if !(p.Shape > 0) {
			errs = append(errs, fmt.Errorf("source %q: shape %g: a gamma law wants more than 0", id, p.Shape))
		}
	case "pareto":
		if !(p.Shape > 1) {
			errs = append(errs, fmt.Errorf("source %q: shape %g: a pareto law wants more than 1", id, p.Shape))
		}
	default:
		errs = append(errs, fmt.Errorf("source %q: distribution %q: want exponential, gamma or pareto", id, p.Distribution))
	}
	if !sane(p.Delay, p.Asymmetry, p.Jitter) || p.Delay < 0 || p.Jitter < 0 || !(p.Loss >= 0 && p.Loss <= 1) {
		errs = append(errs, fmt.Errorf("source %q: delay and jitter must not be negative, loss must be 0 to 1", id))
	}
	return errs
}

func (f Fault) check(i int) []error {
	if f.At < 0 || f.For < 0 || !sane(f.At, f.For, f.Offset) || !within(f.Value, 1e6) {
		return []error{fmt.Errorf("fault %d: at and for must not be negative, nothing beyond %v or a value of 1e6", i+1, maxDuration)}
	}
	switch f.Kind {
	case FaultDie, FaultHang, FaultReturn, FaultLie, FaultRamp, FaultNoise, FaultCongestion, FaultRoute,
		FaultAsymmetry, FaultClass, FaultAccuracy, FaultGrandmaster, FaultUTCOffset, FaultLeap, FaultLeapSecond, FaultWander,
		FaultFrequency, FaultSuspend, FaultPause, FaultForeignStep, FaultKill,
		FaultFreeze, FaultStop, FaultFuture, FaultReference:
		return nil
	case FaultFlap:
		if f.Offset <= 0 || f.For <= 0 {
			return []error{fmt.Errorf("fault %d: flap wants offset and for", i+1)}
		}
		return nil
	case FaultDate:
		if _, err := date(f.Name); err != nil {
			return []error{fmt.Errorf("fault %d: %w", i+1, err)}
		}
		return nil
	case FaultFlags:
		return checkFlags(fmt.Sprintf("fault %d", i+1), f.Name)
	}
	return []error{fmt.Errorf("fault %d: unknown kind %q", i+1, f.Kind)}
}

func (a Assertion) check(i int, names map[sources.ID]bool) []error {
	var errs []error
	if a.At != 0 && (a.From != 0 || a.To != 0) {
		errs = append(errs, fmt.Errorf("assertion %d: either at, or from and to", i+1))
	}
	if a.At == 0 && a.To <= a.From {
		errs = append(errs, fmt.Errorf("assertion %d: to must be after from", i+1))
	}
	if !names[a.Source] || !names[a.Selected] {
		errs = append(errs, fmt.Errorf("assertion %d: source %q or selected %q is none of the scenario's", i+1, a.Source, a.Selected))
	}
	if (a.State != "") != (a.Source != "") {
		errs = append(errs, fmt.Errorf("assertion %d: state and source go together", i+1))
	}
	return errs
}
