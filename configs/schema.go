package configs

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Rule is what may stand at one key. The rules are the only place where ranges and defaults stand:
// decoding, error texts and the test of reference.toml all read them.
type Rule struct {
	// Key has no indices: "ntp.server.minpoll". A rule of an array or a table of strings holds for
	// each of its values.
	Key string
	// Default is what TOML would have given: bool, int64, float64, string, or an array of them. nil: none.
	Default any
	// Limit is what is allowed. nil: anything of the type.
	Limit Limit
	// Required keys have no default and must be given.
	Required bool
}

// Limit is the set of allowed values of a key; String says it in words, with the unit.
type Limit interface {
	// Allows takes an int64, float64, time.Duration or string, whichever the key's type calls for.
	Allows(value any) bool
	fmt.Stringer
}

// Ints allows whole numbers from Min to Max.
type Ints struct {
	Min, Max int64
	Unit     string
}

// Allows reports whether an int64 is in range.
func (l Ints) Allows(value any) bool {
	v, ok := value.(int64)
	return ok && l.Min <= v && v <= l.Max
}

func (l Ints) String() string { return fmt.Sprintf("%d to %d (%s)", l.Min, l.Max, l.Unit) }

// Floats allows numbers from Min to Max, without Min itself where Above is set. NaN is never
// allowed.
type Floats struct {
	Min, Max float64
	Above    bool
	Unit     string
}

// Allows reports whether a float64 is in range.
func (l Floats) Allows(value any) bool {
	v, ok := value.(float64)
	return ok && l.Min <= v && v <= l.Max && (!l.Above || v > l.Min)
}

func (l Floats) String() string {
	from := formatFloat(l.Min)
	if l.Above {
		from = "above " + from
	}
	return fmt.Sprintf("%s to %s (%s)", from, formatFloat(l.Max), l.Unit)
}

// Durations allows durations from Min to Max, and 0 where Zero says what it means.
type Durations struct {
	Min, Max time.Duration
	Zero     string
}

// Allows reports whether a time.Duration is in range.
func (l Durations) Allows(value any) bool {
	v, ok := value.(time.Duration)
	return ok && (l.Min <= v && v <= l.Max || v == 0 && l.Zero != "")
}

func (l Durations) String() string {
	text := fmt.Sprintf("%q to %q", Duration(l.Min), Duration(l.Max))
	if l.Zero != "" {
		text += fmt.Sprintf(`, or "0s" (%s)`, l.Zero)
	}
	return text
}

// OneOf allows the listed words.
type OneOf []string

// Allows reports whether a string is one of the words.
func (l OneOf) Allows(value any) bool {
	v, ok := value.(string)
	return ok && slices.Contains(l, v)
}

func (l OneOf) String() string { return orList(l) }

// Form allows the strings of a form that has a name.
type Form struct {
	Name string
	Is   func(string) bool
}

// Allows reports whether a string has the form.
func (l Form) Allows(value any) bool {
	v, ok := value.(string)
	return ok && l.Is(v)
}

func (l Form) String() string { return l.Name }

// Schema returns the rule of every key, in the order of the reference.
func Schema() []Rule {
	return slices.Concat(clockRules(), arbiterRules(), ntpRules(), ptpRules(), hostRules())
}

func clockRules() []Rule {
	return []Rule{
		{Key: "clock.driver", Default: "kernel", Limit: OneOf{"kernel", "virtual", "observe"}},
		{Key: "clock.interval", Default: "250ms", Limit: Durations{Min: 50 * time.Millisecond, Max: 4 * time.Second}},
		{Key: "clock.max_slew_ppm", Default: 400.0, Limit: Floats{Max: 500, Above: true, Unit: "ppm"}},
		{Key: "clock.max_frequency_ppm", Default: 500.0, Limit: Floats{Max: 500, Above: true, Unit: "ppm"}},
		{Key: "clock.foreign_write", Default: "defend", Limit: OneOf{"defend", "hold", "yield"}},
		{Key: "clock.foreign_attempts", Default: int64(8), Limit: Ints{Min: 1, Max: 100, Unit: "attempts"}},
		{Key: "clock.foreign_quiet", Default: "10m", Limit: Durations{Min: time.Second, Max: 24 * time.Hour}},
		{Key: "clock.temperature", Default: "", Limit: Form{"an absolute path without spaces", isPath}},
		{Key: "clock.trace", Default: false},
		{Key: "clock.enforce", Default: false},
		{Key: "clock.step.threshold", Default: "1ms", Limit: Durations{Min: time.Microsecond, Max: time.Hour, Zero: "never step"}},
		{Key: "clock.step.at_start", Default: true},
		{Key: "clock.step.when_running", Default: false},
		{Key: "clock.step.min_agreement", Default: int64(2), Limit: Ints{Min: 1, Max: 16, Unit: "sources"}},
		{Key: "clock.step.agreement_wait", Default: "10s", Limit: Durations{Max: time.Hour}},
		{Key: "clock.step.panic", Default: "1000s", Limit: Durations{Min: time.Second, Max: 8760 * time.Hour}},
		{Key: "clock.virtual.initial_offset", Default: "0s", Limit: Durations{Min: -time.Hour, Max: time.Hour}},
		{Key: "clock.virtual.frequency_error_ppm", Default: 0.0, Limit: Floats{Min: -500, Max: 500, Unit: "ppm"}},
		{Key: "clock.virtual.stranger", Default: "", Limit: Form{"an absolute path without spaces of at most 107 bytes", func(s string) bool { return isPath(s) && len(s) <= 107 }}},
	}
}

func arbiterRules() []Rule {
	return []Rule{
		{Key: "arbiter.min_sources", Default: int64(1), Limit: Ints{Min: 1, Max: 16, Unit: "sources"}},
		{Key: "arbiter.max_distance", Default: "1.5s", Limit: Durations{Min: time.Microsecond, Max: 16 * time.Second}},
		{Key: "arbiter.max_jitter", Default: "100ms", Limit: Durations{Min: 100 * time.Nanosecond, Max: 10 * time.Second}},
		{Key: "arbiter.max_age", Default: "0s", Limit: Durations{Min: time.Second, Max: 168 * time.Hour, Zero: "derived from the poll interval"}},
		{Key: "arbiter.settle", Default: int64(4), Limit: Ints{Min: 1, Max: 64, Unit: "samples"}},
		{Key: "arbiter.improvement_hold", Default: "10s", Limit: Durations{Max: time.Hour}},
		{Key: "arbiter.degradation_hold", Default: "3s", Limit: Durations{Max: time.Hour}},
		{Key: "arbiter.hysteresis", Default: 2.0, Limit: Floats{Min: 1, Max: 100, Unit: "factor"}},
		{Key: "arbiter.disagreement", Default: "keep", Limit: OneOf{"keep", "better-bound", "holdover"}},
		{Key: "arbiter.lock_threshold", Default: "50us", Limit: Durations{Min: 100 * time.Nanosecond, Max: time.Second}},
		{Key: "arbiter.holdover_max_bound", Default: "10ms", Limit: Durations{Min: time.Microsecond, Max: 16 * time.Second}},
		{Key: "arbiter.holdover_max_time", Default: "24h", Limit: Durations{Min: time.Second, Max: 8760 * time.Hour}},
		{Key: "arbiter.witness", Default: true},
		{Key: "arbiter.quarantine", Default: "24h", Limit: Durations{Min: time.Minute, Max: 8760 * time.Hour}},
		{Key: "arbiter.learn_bias", Default: true},
		{Key: "arbiter.bias_max_age", Default: "24h", Limit: Durations{Min: time.Minute, Max: 8760 * time.Hour}},
		{Key: "arbiter.combine", Default: true},
		{Key: "arbiter.limits", Default: []any{"100us", "1ms", "50ms"}, Limit: Durations{Min: 100 * time.Nanosecond, Max: 16 * time.Second}},
		{Key: "arbiter.not_before", Default: "2026-01-01", Limit: Form{`a date such as "2026-01-01", or "" for no limit`, isDate}},
		{Key: "arbiter.not_after", Default: "2046-01-01", Limit: Form{`a date such as "2046-01-01", or "" for no limit`, isDate}},
		{Key: "arbiter.leap_table", Default: "auto", Limit: Form{`"auto", "none", or an absolute path without spaces`, isLeapTable}},
	}
}

func ntpRules() []Rule {
	poll := Ints{Min: minPollLog2, Max: maxPollLog2, Unit: "log2 seconds"}
	return append([]Rule{
		{Key: "ntp.chronyd", Default: "chronyd", Limit: Form{"a program name or an absolute path, without spaces", isProgram}},
		{Key: "ntp.user", Default: "", Limit: Form{"a user name", isUser}},
		{Key: "ntp.allow", Limit: Form{`a subnet such as "192.0.2.0/24" with no host bits set, or an address`, isSubnet}},
		{Key: "ntp.port", Default: int64(0), Limit: Ints{Min: 0, Max: 65535, Unit: "UDP port, 0 is not serving"}},
		{Key: "ntp.keyfile", Default: "", Limit: Form{"an absolute path without spaces", isPath}},
		{Key: "ntp.extra"},
		{Key: "ntp.server.address", Required: true, Limit: Form{"a host name or an IP address", isHost}},
		{Key: "ntp.server.pool", Default: false},
		{Key: "ntp.server.minpoll", Limit: poll},
		{Key: "ntp.server.maxpoll", Limit: poll},
		{Key: "ntp.server.iburst", Default: false},
		{Key: "ntp.server.xleave", Default: false},
		{Key: "ntp.server.nts", Default: false},
		{Key: "ntp.server.key", Limit: Ints{Min: 1, Max: 1<<32 - 1, Unit: "key number"}},
		{Key: "ntp.server.port", Default: int64(123), Limit: Ints{Min: 1, Max: 65535, Unit: "UDP port"}},
		{Key: "ntp.server.maxsources", Default: int64(chronyMaxSources), Limit: Ints{Min: 1, Max: 16, Unit: "servers of a pool"}},
		{Key: "ntp.server.options"},
	}, selectRules("ntp.server")...)
}

func ptpRules() []Rule {
	return append([]Rule{
		{Key: "ptp.ptp4l", Default: "ptp4l", Limit: Form{"a program name or an absolute path, without spaces", isProgram}},
		{Key: "ptp.user", Default: "", Limit: Form{"a user name", isUser}},
		{Key: "ptp.interface.name", Required: true, Limit: Form{"a network interface name: at most 15 bytes, no space, slash or colon", isInterface}},
		{Key: "ptp.interface.domain", Default: int64(0), Limit: Ints{Min: 0, Max: 255, Unit: "PTP domain number"}},
		{Key: "ptp.interface.transport", Default: "UDPv4", Limit: OneOf{"UDPv4", "UDPv6", "L2"}},
		{Key: "ptp.interface.delay_mechanism", Default: "E2E", Limit: OneOf{"E2E", "P2P"}},
		{Key: "ptp.interface.timestamping", Default: "auto", Limit: OneOf{"auto", "hardware", "software"}},
		{Key: "ptp.interface.unicast"},
		{Key: "ptp.interface.utc_offset", Default: "advertised", Limit: Form{`"advertised", or "0" to "255" (seconds TAI - UTC)`, isUTCOffset}},
		{Key: "ptp.interface.options"},
	}, selectRules("ptp.interface")...)
}

func selectRules(table string) []Rule {
	return []Rule{
		{Key: table + ".prefer", Default: false},
		{Key: table + ".trust", Default: false},
		{Key: table + ".require", Default: false},
		{Key: table + ".noselect", Default: false},
		{Key: table + ".floor", Default: "0s", Limit: Durations{Max: 16 * time.Second}},
	}
}

func hostRules() []Rule {
	return []Rule{
		// Sockets live in directories below run_dir, and a Unix socket's path has at most 107 bytes
		// (unix(7)).
		{Key: "paths.run_dir", Default: "/run/clockarbiter", Limit: Form{"an absolute path without spaces of at most 64 bytes", func(s string) bool { return isPath(s) && len(s) <= 64 }}},
		{Key: "paths.state_dir", Default: "/var/lib/clockarbiter", Limit: Form{"an absolute path without spaces", isPath}},
		{Key: "paths.status_socket", Default: "", Limit: Form{"an absolute path without spaces of at most 107 bytes", func(s string) bool { return isPath(s) && len(s) <= 107 }}},
		{Key: "paths.status_group", Default: "", Limit: Form{"a group name", isUser}},
		{Key: "process.grace", Default: "2s", Limit: Durations{Min: 10 * time.Millisecond, Max: time.Minute}},
		{Key: "process.backoff_min", Default: "500ms", Limit: Durations{Min: 10 * time.Millisecond, Max: time.Hour}},
		{Key: "process.backoff_max", Default: "30s", Limit: Durations{Min: 10 * time.Millisecond, Max: 24 * time.Hour}},
		{Key: "process.healthy_for", Default: "60s", Limit: Durations{Min: 100 * time.Millisecond, Max: 24 * time.Hour}},
		{Key: "process.sample_timeout", Default: "60s", Limit: Durations{Min: time.Second, Max: 24 * time.Hour, Zero: "never restart for it"}},
		{Key: "record.enabled", Default: false},
		{Key: "record.dir", Default: "", Limit: Form{"an absolute path without spaces", isPath}},
		{Key: "record.max_size_mib", Default: int64(16), Limit: Ints{Min: 1, Max: 1024, Unit: "MiB"}},
		{Key: "record.keep", Default: int64(8), Limit: Ints{Min: 2, Max: 1000, Unit: "files"}},
		{Key: "log.level", Default: "info", Limit: OneOf{"debug", "info", "warn", "error"}},
		{Key: "log.format", Default: "auto", Limit: OneOf{"auto", "text", "json"}},
	}
}

// Poll intervals of an NTP server, log2 seconds: RFC 5905 ends at 17, chronyd accepts -7 to 24
// (chrony.conf, option minpoll).
const (
	minPollLog2 = -6
	maxPollLog2 = 24
)

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func orList(words []string) string {
	text := ""
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			text += " or "
		default:
			text += ", "
		}
		text += strconv.Quote(w)
	}
	return text
}
