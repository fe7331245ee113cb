package configs

import "time"

// Config is a whole, validated configuration with every default filled in.
type Config struct {
	Clock   Clock   `toml:"clock"`
	Arbiter Arbiter `toml:"arbiter"`
	NTP     NTP     `toml:"ntp"`
	PTP     PTP     `toml:"ptp"`
	Paths   Paths   `toml:"paths"`
	Process Process `toml:"process"`
	Log     Log     `toml:"log"`
}

// Clock configures the one writer.
type Clock struct {
	Driver          string       `toml:"driver"`            // "kernel", "virtual" or "observe"
	Interval        Duration     `toml:"interval"`          // control period, 50ms to 4s, default 250ms
	MaxSlewPPM      float64      `toml:"max_slew_ppm"`      // rate at which a phase error is removed, (0, 500], default 400
	MaxFrequencyPPM float64      `toml:"max_frequency_ppm"` // largest believable frequency error of the oscillator, default 500
	Step            Step         `toml:"step"`
	Virtual         VirtualClock `toml:"virtual"`
}

// Step is the policy for steps of the clock.
type Step struct {
	Threshold    Duration `toml:"threshold"`     // smaller errors are always slewed; default 1ms; 0 = never step
	AtStart      bool     `toml:"at_start"`      // step until first locked; default true
	WhenRunning  bool     `toml:"when_running"`  // step after that too; default false
	MinAgreement int      `toml:"min_agreement"` // independent sources that must agree on a step, default 2, limited by the number configured
	Panic        Duration `toml:"panic"`         // a larger error after start is refused; default 1000s
}

// VirtualClock is the simulated clock of driver "virtual".
type VirtualClock struct {
	InitialOffset     Duration `toml:"initial_offset"`      // system - L at start
	FrequencyErrorPPM float64  `toml:"frequency_error_ppm"` // rate error of the simulated oscillator
}

// Arbiter configures selection.
type Arbiter struct {
	MinSources       int      `toml:"min_sources"`        // survivors needed to steer, default 1
	MaxDistance      Duration `toml:"max_distance"`       // larger error bound: Distant; default 1.5s (RFC 5905 MAXDIST)
	MaxJitter        Duration `toml:"max_jitter"`         // larger spread: Jittery; default 100ms
	MaxAge           Duration `toml:"max_age"`            // hard limit on the age of the last sample; 0 = derived from the poll interval
	Settle           int      `toml:"settle"`             // samples a new or returned source needs before it may be selected, default 4
	ImprovementHold  Duration `toml:"improvement_hold"`   // a better source must stay better this long, default 10s
	DegradationHold  Duration `toml:"degradation_hold"`   // a worsened incumbent is left after this long, default 3s
	Hysteresis       float64  `toml:"hysteresis"`         // factor by which a challenger's score must beat the incumbent's, default 2.0
	Disagreement     string   `toml:"disagreement"`       // two sources against each other: "keep", "better-bound", "holdover"; default "keep"
	LockThreshold    Duration `toml:"lock_threshold"`     // system error below which Acquiring becomes Locked; default 50us or bound
	HoldoverMaxBound Duration `toml:"holdover_max_bound"` // holdover ends in FreeRunning above this bound; default 10ms
	HoldoverMaxTime  Duration `toml:"holdover_max_time"`  // ... or after this long; default 24h
}

// Select holds the per-source selection options that every source has (chrony's words).
type Select struct {
	Prefer   bool     `toml:"prefer"`
	Trust    bool     `toml:"trust"`
	Require  bool     `toml:"require"`
	NoSelect bool     `toml:"noselect"`
	Floor    Duration `toml:"floor"` // smallest error bound ever believed of this source
}

// NTP configures chronyd and its servers.
type NTP struct {
	Chronyd string      `toml:"chronyd"` // program path; default "chronyd" found in PATH and /usr/sbin
	User    string      `toml:"user"`    // default "_chrony", else "chrony", else "nobody", whichever exists
	Servers []NTPServer `toml:"server"`
	Allow   []string    `toml:"allow"` // subnets served with NTP; empty: none
	Port    int         `toml:"port"`  // server port, 0: not serving; default 123 when Allow is set
	KeyFile string      `toml:"keyfile"`
	Extra   []string    `toml:"extra"` // raw directives for chrony.conf; those that would take the clock back are refused
}

// NTPServer is one [[ntp.server]].
type NTPServer struct {
	Address    string   `toml:"address"` // host name or address
	Pool       bool     `toml:"pool"`
	MinPoll    *int     `toml:"minpoll"` // log2 seconds, -6..24
	MaxPoll    *int     `toml:"maxpoll"`
	IBurst     bool     `toml:"iburst"`
	XLeave     bool     `toml:"xleave"`
	NTS        bool     `toml:"nts"`
	Key        *uint32  `toml:"key"`
	Port       int      `toml:"port"`
	MaxSources int      `toml:"maxsources"` // of a pool
	Options    []string `toml:"options"`    // further chronyd options, passed through: "offset 0.0001", "maxdelay 0.1"
	Select
}

// PTP configures the PTP engines.
type PTP struct {
	PTP4L      string         `toml:"ptp4l"` // program path
	User       string         `toml:"user"`  // default "nobody"
	Interfaces []PTPInterface `toml:"interface"`
}

// PTPInterface is one [[ptp.interface]]: one source.
type PTPInterface struct {
	Name           string            `toml:"name"`            // network interface
	Domain         int               `toml:"domain"`          // 0..255
	Transport      string            `toml:"transport"`       // "UDPv4", "UDPv6", "L2"
	DelayMechanism string            `toml:"delay_mechanism"` // "E2E", "P2P"
	Timestamping   string            `toml:"timestamping"`    // "auto", "hardware", "software"
	Unicast        []string          `toml:"unicast"`         // unicast masters; empty: multicast
	UTCOffset      string            `toml:"utc_offset"`      // "advertised" (default), or a number of seconds that overrides, "0" for a UTC grandmaster
	Options        map[string]string `toml:"options"`         // further ptp4l [global] options
	Select
}

// Paths are where the supervisor keeps its files.
type Paths struct {
	RunDir       string `toml:"run_dir"`       // default /run/clockarbiter
	StateDir     string `toml:"state_dir"`     // default /var/lib/clockarbiter
	StatusSocket string `toml:"status_socket"` // default run_dir/status.sock
}

// Process configures the supervision of children.
type Process struct {
	Grace         Duration `toml:"grace"`          // TERM to KILL, default 2s
	BackoffMin    Duration `toml:"backoff_min"`    // default 500ms
	BackoffMax    Duration `toml:"backoff_max"`    // default 30s
	HealthyFor    Duration `toml:"healthy_for"`    // backoff is reset after this long alive, default 60s
	SampleTimeout Duration `toml:"sample_timeout"` // an engine without fresh samples this long is restarted, default 60s, 0: never
}

// Log configures the log.
type Log struct {
	Level  string `toml:"level"`  // "debug", "info", "warn", "error"
	Format string `toml:"format"` // "auto" (journal when there is one), "text", "json"
}

// Duration is a time.Duration written as in "250ms"; a bare number is an error.
type Duration time.Duration
