package configs

// Config is a whole, validated configuration with every default filled in. Ranges, units and
// defaults of each key stand in schema.go and, for people, in reference.toml.
type Config struct {
	Clock   Clock   `toml:"clock"`
	Arbiter Arbiter `toml:"arbiter"`
	NTP     NTP     `toml:"ntp"`
	PTP     PTP     `toml:"ptp"`
	Paths   Paths   `toml:"paths"`
	Process Process `toml:"process"`
	Record  Record  `toml:"record"`
	Log     Log     `toml:"log"`
}

// Clock configures the one writer.
type Clock struct {
	// Driver is "kernel" (steers CLOCK_REALTIME), "virtual" (steers a simulated clock) or
	// "observe" (decides and adjusts nothing).
	Driver string `toml:"driver"`
	// Interval is the control period.
	Interval Duration `toml:"interval"`
	// MaxSlewPPM is the rate at which a phase error is removed.
	MaxSlewPPM float64 `toml:"max_slew_ppm"`
	// MaxFrequencyPPM is the largest believable frequency error of the oscillator.
	MaxFrequencyPPM float64 `toml:"max_frequency_ppm"`
	// ForeignWrite is what to do when somebody else moves the clock: "defend" puts it right at once,
	// "hold" stops writing until it is quiet, "yield" stops writing for good.
	ForeignWrite string `toml:"foreign_write"`
	// ForeignAttempts is how often the clock is put right before defence becomes hold.
	ForeignAttempts int `toml:"foreign_attempts"`
	// ForeignQuiet is how long nobody else must have touched the clock for attempts to be forgotten
	// and for a hold to end.
	ForeignQuiet Duration `toml:"foreign_quiet"`
	// Temperature is the file of a sensor near the oscillator, in thousandths of a degree Celsius. Empty:
	// none.
	Temperature string `toml:"temperature"`
	// Trace names the process that writes to the clock, with BPF.
	Trace bool `toml:"trace"`
	// Enforce has the kernel refuse the clock to others, with the BPF LSM.
	Enforce bool `toml:"enforce"`
	// Step is the policy for steps.
	Step Step `toml:"step"`
	// Virtual holds for the driver "virtual" alone.
	Virtual VirtualClock `toml:"virtual"`
}

// Step is the policy for steps of the clock.
type Step struct {
	// Threshold: smaller errors are always slewed. 0: never step.
	Threshold Duration `toml:"threshold"`
	// AtStart allows steps until the clock is locked for the first time.
	AtStart bool `toml:"at_start"`
	// WhenRunning allows steps after that too.
	WhenRunning bool `toml:"when_running"`
	// MinAgreement is how many independent sources must agree on a step. The default is limited
	// to what the configured sources can muster; a configured value that they cannot is an error.
	MinAgreement int `toml:"min_agreement"`
	// AgreementWait is how long the start waits for that agreement before it follows without a step.
	AgreementWait Duration `toml:"agreement_wait"`
	// Panic: a larger error after start is refused.
	Panic Duration `toml:"panic"`
}

// VirtualClock is the simulated clock of driver "virtual".
type VirtualClock struct {
	// InitialOffset is simulated clock - L at start. Positive: the simulated clock is fast.
	InitialOffset Duration `toml:"initial_offset"`
	// FrequencyErrorPPM is the rate error of the simulated oscillator. Positive: it runs fast.
	FrequencyErrorPPM float64 `toml:"frequency_error_ppm"`
	// Stranger is a socket at which a test moves the simulated clock as a rival would. Empty: none.
	Stranger string `toml:"stranger"`
}

// Arbiter configures selection.
type Arbiter struct {
	// MinSources is the number of survivors that it takes to steer.
	MinSources int `toml:"min_sources"`
	// MaxDistance: a source with a larger error bound is Distant (RFC 5905 11.2.1, MAXDIST).
	MaxDistance Duration `toml:"max_distance"`
	// MaxJitter: a source whose samples spread more is Jittery.
	MaxJitter Duration `toml:"max_jitter"`
	// MaxAge is a hard limit on the age of the last sample. 0: derived from the poll interval.
	MaxAge Duration `toml:"max_age"`
	// Settle is how many samples a new or returned source needs before it may be selected.
	Settle int `toml:"settle"`
	// ImprovementHold: a better source must stay better this long before it is followed.
	ImprovementHold Duration `toml:"improvement_hold"`
	// DegradationHold: an incumbent that worsened is left after this long.
	DegradationHold Duration `toml:"degradation_hold"`
	// Hysteresis is the factor by which a challenger's score must beat the incumbent's.
	Hysteresis float64 `toml:"hysteresis"`
	// Disagreement is what to do with two sources against each other and no third: "keep" the
	// incumbent, follow the "better-bound", or go to "holdover".
	Disagreement string `toml:"disagreement"`
	// LockThreshold is the system error below which Acquiring becomes Locked.
	LockThreshold Duration `toml:"lock_threshold"`
	// HoldoverMaxBound: holdover ends in FreeRunning above this error bound,
	HoldoverMaxBound Duration `toml:"holdover_max_bound"`
	// HoldoverMaxTime: or after this long.
	HoldoverMaxTime Duration `toml:"holdover_max_time"`
	// Witness: a source that moves against the local oscillator while the others do not is left,
	// even where their error intervals allow it.
	Witness bool `toml:"witness"`
	// Quarantine: such a source is kept out this long unless it returns.
	Quarantine Duration `toml:"quarantine"`
	// LearnBias: the others' constant offsets are learnt while a clearly best source is followed,
	LearnBias bool `toml:"learn_bias"`
	// BiasMaxAge: and used this long after they were last confirmed.
	BiasMaxAge Duration `toml:"bias_max_age"`
	// Combine: sources that are nearly equal are followed together.
	Combine bool `toml:"combine"`
	// Limits of the clock's error bound, ascending: status tells how long each would hold without a
	// source, the journal when one is violated and met again.
	Limits []Duration `toml:"limits"`
	// NotBefore and NotAfter are the days between which a source's time must be. Empty: no limit.
	NotBefore string `toml:"not_before"`
	NotAfter  string `toml:"not_after"`
	// LeapTable is the host's leap-seconds.list: a path, "auto" (where tzdata puts it) or "none".
	LeapTable string `toml:"leap_table"`
}

// Select holds the per-source selection options that every source has (chrony's words).
type Select struct {
	// Prefer ranks the source before those without it.
	Prefer bool `toml:"prefer"`
	// Trust: the source is right wherever untrusted sources say otherwise.
	Trust bool `toml:"trust"`
	// Require: nothing is followed while this source, or another required one, is not selectable.
	Require bool `toml:"require"`
	// NoSelect: the source is measured and reported, and has no vote.
	NoSelect bool `toml:"noselect"`
	// Floor is the smallest error bound ever believed of this source.
	Floor Duration `toml:"floor"`
}

// NTP configures chronyd and its servers.
type NTP struct {
	// Chronyd is the program: an absolute path, or a name to be found in PATH and /usr/sbin.
	Chronyd string `toml:"chronyd"`
	// User runs chronyd. Empty: the first of "clockarbiter-ntp", "_chrony", "chrony", "nobody" that exists.
	User    string      `toml:"user"`
	Servers []NTPServer `toml:"server"`
	// Allow are the subnets that are served with NTP. Empty: none.
	Allow []string `toml:"allow"`
	// Port is the server port, 0: not serving. The default is 123 when Allow is set, else 0.
	Port int `toml:"port"`
	// KeyFile is chronyd's file of symmetric keys. Empty: none.
	KeyFile string `toml:"keyfile"`
	// Extra are further directives for chrony.conf; reserved.go says which are refused.
	Extra []string `toml:"extra"`
}

// NTPServer is one [[ntp.server]].
type NTPServer struct {
	// Address is a host name or an IP address.
	Address string `toml:"address"`
	// Pool: the name stands for many servers, of which MaxSources are used.
	Pool bool `toml:"pool"`
	// MinPoll and MaxPoll are log2 seconds. nil: chronyd's own, 6 and 10.
	MinPoll *int `toml:"minpoll"`
	MaxPoll *int `toml:"maxpoll"`
	// IBurst makes the first measurements quick.
	IBurst bool `toml:"iburst"`
	// XLeave is the interleaved mode (RFC 9769).
	XLeave bool `toml:"xleave"`
	// NTS authenticates with Network Time Security (RFC 8915).
	NTS bool `toml:"nts"`
	// Key authenticates with this key of ntp.keyfile. nil: not.
	Key *uint32 `toml:"key"`
	// Port is the server's UDP port.
	Port int `toml:"port"`
	// MaxSources is the number of servers used of a pool; it means nothing without Pool.
	MaxSources int `toml:"maxsources"`
	// Options are further chronyd options, passed through: "offset 0.0001", "maxdelay 0.1".
	Options []string `toml:"options"`
	Select
}

// PTP configures the PTP engines.
type PTP struct {
	// PTP4L is the program: an absolute path, or a name to be found in PATH and /usr/sbin.
	PTP4L string `toml:"ptp4l"`
	// User runs ptp4l. Empty: the first of "clockarbiter-ptp", "nobody" that exists.
	User       string         `toml:"user"`
	Interfaces []PTPInterface `toml:"interface"`
}

// PTPInterface is one [[ptp.interface]]: one source.
type PTPInterface struct {
	// Name is the network interface.
	Name string `toml:"name"`
	// Domain is the PTP domain number.
	Domain int `toml:"domain"`
	// Transport is "UDPv4", "UDPv6" or "L2" (IEEE 1588-2019, annexes C, D, E).
	Transport string `toml:"transport"`
	// DelayMechanism is "E2E" or "P2P".
	DelayMechanism string `toml:"delay_mechanism"`
	// Timestamping is "hardware", "software", or "auto": the best that the interface can do.
	Timestamping string `toml:"timestamping"`
	// Unicast are the addresses of unicast masters (MAC addresses with L2). Empty: multicast.
	Unicast []string `toml:"unicast"`
	// UTCOffset is TAI - UTC: "advertised", or a number of seconds that overrides what the
	// grandmaster says, "0" for a grandmaster that distributes UTC.
	UTCOffset string `toml:"utc_offset"`
	// Options are further options of ptp4l's [global] section; reserved.go says which are refused.
	Options map[string]string `toml:"options"`
	Select
}

// Paths are where the supervisor keeps its files.
type Paths struct {
	// RunDir holds rendered configurations and sockets, gone after a reboot.
	RunDir string `toml:"run_dir"`
	// StateDir holds what outlives a reboot.
	StateDir string `toml:"state_dir"`
	// StatusSocket is the Unix socket that `clockarbiter status` asks. Default: status.sock in
	// RunDir.
	StatusSocket string `toml:"status_socket"`
	// StatusGroup may ask it, beside root. Empty: every user may.
	StatusGroup string `toml:"status_group"`
}

// Process configures the supervision of children.
type Process struct {
	// Grace is the time from TERM to KILL.
	Grace Duration `toml:"grace"`
	// BackoffMin and BackoffMax are the first and the longest wait before a restart.
	BackoffMin Duration `toml:"backoff_min"`
	BackoffMax Duration `toml:"backoff_max"`
	// HealthyFor: the backoff is reset after this long alive.
	HealthyFor Duration `toml:"healthy_for"`
	// SampleTimeout: an engine that has answered nothing this long is restarted. An answer without a
	// new sample counts, because chronyd's polls may be far apart. 0: never.
	SampleTimeout Duration `toml:"sample_timeout"`
}

// Record configures the recording of inputs and decisions.
type Record struct {
	// Enabled records.
	Enabled bool `toml:"enabled"`
	// Dir holds the files. Default: recordings in StateDir.
	Dir string `toml:"dir"`
	// MaxSizeMiB is the compressed size at which the next file begins.
	MaxSizeMiB int `toml:"max_size_mib"`
	// Keep is how many files of that size are kept: older ones go.
	Keep int `toml:"keep"`
}

// Log configures the log.
type Log struct {
	// Level is "debug", "info", "warn" or "error".
	Level string `toml:"level"`
	// Format is "auto" (the journal when there is one, else text), "text" or "json".
	Format string `toml:"format"`
}

// What chronyd does without being told: its poll intervals, log2 seconds, and how many sources it
// uses of a pool (chrony.conf, options minpoll, maxpoll and maxsources).
const (
	chronyMinPoll    = 6
	chronyMaxPoll    = 10
	chronyMaxSources = 4
)

func valueOr[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}
