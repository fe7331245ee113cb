package ptp

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"clockarbiter/sources"
)

// Config is everything that one ptp4l instance is started with.
type Config struct {
	Binary  string  // path of ptp4l
	Version Release // its release; the zero Release is rendered as 3.1
	// Dir is the private directory of this instance: its configuration and all its sockets. ptp4l's
	// user must be able to create files in it.
	Dir        string
	Interfaces []string // several only when they share a PHC
	Mode       Mode
	// PHC is the PHC of the interfaces as it was probed. It is looked up again, by interface, each
	// time the device is opened.
	PHC sources.Optional[int]
	Settings
}

// The files of an instance inside Config.Dir.
const (
	configFile         = "ptp4l.conf"
	engineSocket       = "ptp4l.sock"
	engineSocketRO     = "ptp4l-ro.sock"
	managementSocket   = "management.sock"
	eventMonitorSocket = "events.sock"
)

// ConfigPath is where the rendered configuration belongs.
func (c Config) ConfigPath() string { return filepath.Join(c.Dir, configFile) }

// EngineSocket is ptp4l's own management socket.
func (c Config) EngineSocket() string { return filepath.Join(c.Dir, engineSocket) }

// ManagementSocket is our end of the management connection.
func (c Config) ManagementSocket() string { return filepath.Join(c.Dir, managementSocket) }

// EventMonitorSocket is where ptp4l sends its event records.
func (c Config) EventMonitorSocket() string { return filepath.Join(c.Dir, eventMonitorSocket) }

const (
	// stepThreshold: a PHC that is off by more is stepped, because after a reset of the PHC (link
	// down, 37 s off) ptp4l would otherwise slew for hours. What is measured does not depend on it.
	stepThreshold = time.Millisecond
	// maxFrequencyPPB is what ptp4l may slew a PHC by. Its own limit is 90 %: a grandmaster that begins to lie by seconds
	// between ptp4l's first two Syncs would bring the PHC to a tenth of its rate for seconds, in which no timestamp is
	// worth anything.
	maxFrequencyPPB = maxRatePPB
	// txTimestampTimeout: ptp4l 3.1's default of 1 ms sends ports of busy hosts to FAULTY; waiting
	// longer costs nothing unless a stamp is really lost.
	txTimestampTimeout = 50 * time.Millisecond
	// faultResetLog2: a port that went FAULTY tries again after 2^2 s, not after the default
	// 2^4 s; the arbiter waits for it meanwhile.
	faultResetLog2 = 2
	// firstDelayReqLog2: the first Delay_Req leaves within half a second instead of two; its response brings
	// the interval that the master wants. A unicast response brings none, and there the default stays.
	firstDelayReqLog2 = -2
	// unixPathMax is what sun_path holds, less its terminator (unix(7)).
	unixPathMax = 107
)

// setting is one line of ptp4l.conf.
type setting struct{ key, value string }

// Render returns ptp4l.conf. It is a client-only instance that never touches CLOCK_REALTIME:
// free_running with software timestamps, no kernel leap seconds. Error: c is not a valid instance,
// or an option would take the clock back.
func Render(c Config) (string, error) {
	if err := c.validate(); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Written by clockarbiter. Changes are lost.\n[global]\n")
	for _, s := range c.global() {
		fmt.Fprintf(&b, "%s %s\n", s.key, s.value)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Options)) {
		fmt.Fprintf(&b, "%s %s\n", key, c.Options[key])
	}
	if len(c.Unicast) > 0 {
		b.WriteString("\n[unicast_master_table]\ntable_id 1\nlogQueryInterval 2\n")
		for _, m := range c.Unicast {
			fmt.Fprintf(&b, "%s %s\n", c.Transport, m)
		}
	}
	for _, name := range c.Interfaces {
		fmt.Fprintf(&b, "\n[%s]\n", name)
		if len(c.Unicast) > 0 {
			b.WriteString("unicast_master_table 1\n")
		}
	}
	return b.String(), nil
}

// global lists the options that are ours to decide.
func (c Config) global() []setting {
	clientOnly := "slaveOnly"
	if !c.Version.Before(inclusiveNames) {
		clientOnly = "clientOnly"
	}
	s := []setting{
		{clientOnly, "1"},
		{"domainNumber", fmt.Sprint(c.Domain)},
		{"network_transport", c.Transport},
		{"delay_mechanism", c.DelayMechanism},
		{"time_stamping", c.Mode.String()},
		{"kernel_leap", "0"},
		{"tx_timestamp_timeout", fmt.Sprint(txTimestampTimeout.Milliseconds())},
		{"fault_reset_interval", fmt.Sprint(faultResetLog2)},
		{"summary_interval", "20"}, // 2^20 s: ptp4l's log keeps to transitions
		{"uds_address", c.EngineSocket()},
		{"slave_event_monitor", c.EventMonitorSocket()},
	}
	if !c.Version.Before(inclusiveNames) {
		// Without this, a 4.x ptp4l that is not root dies on the default path below /var/run.
		s = append(s, setting{"uds_ro_address", filepath.Join(c.Dir, engineSocketRO)})
	}
	if c.DelayMechanism == "E2E" && len(c.Unicast) == 0 && c.Options["hybrid_e2e"] != "1" {
		s = append(s, setting{"logMinDelayReqInterval", fmt.Sprint(firstDelayReqLog2)})
	}
	if c.Mode == Hardware {
		return append(s, setting{"step_threshold", fmt.Sprint(stepThreshold.Seconds())}, setting{"max_frequency", fmt.Sprint(maxFrequencyPPB)})
	}
	return append(s, setting{"free_running", "1"})
}

// Argv is the command line: the configuration, messages to stdout, none to syslog.
func Argv(c Config) []string {
	return []string{c.Binary, "-f", c.ConfigPath(), "-m", "-q"}
}

// LinuxCapabilities are the capabilities that ptp4l needs after the switch of user, by their names
// in capabilities(7): ports 319 and 320 for UDP, packet sockets for L2, SIOCSHWTSTAMP for hardware
// timestamps. Never CAP_SYS_TIME: a PHC is adjusted through a writable /dev/ptpN alone.
func LinuxCapabilities(c Config) []string {
	var caps []string
	if c.Transport == "L2" {
		caps = append(caps, "CAP_NET_RAW")
	} else {
		caps = append(caps, "CAP_NET_BIND_SERVICE")
	}
	if c.Mode == Hardware {
		caps = append(caps, "CAP_NET_ADMIN")
	}
	return caps
}

var (
	interfacePattern = regexp.MustCompile(`^[^\s/\[\]#[:cntrl:]]{1,15}$`)
	optionPattern    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]*$`)
	macPattern       = regexp.MustCompile(`^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$`)
)

// sectionNames are the sections of ptp4l.conf that an interface name would be taken for.
var sectionNames = []string{"global", "unicast_master_table"}

func (c Config) validate() error {
	if len(c.Interfaces) == 0 {
		return fmt.Errorf("ptp4l instance without an interface")
	}
	if len(c.Interfaces) > 1 && c.Mode != Hardware {
		return fmt.Errorf("ptp4l instance with several interfaces (%s) needs hardware timestamps", strings.Join(c.Interfaces, ", "))
	}
	for _, name := range c.Interfaces {
		if !interfacePattern.MatchString(name) || slices.Contains(sectionNames, name) {
			return fmt.Errorf("interface %q is not a valid interface name", name)
		}
	}
	if c.Mode != Software && c.Mode != Hardware {
		return fmt.Errorf("interface %s: mode is not chosen", c.Interfaces[0])
	}
	if err := c.validateDir(); err != nil {
		return err
	}
	return c.Settings.validate()
}

func (c Config) validateDir() error {
	if !filepath.IsAbs(c.Dir) || strings.ContainsFunc(c.Dir, unprintable) {
		return fmt.Errorf("run directory %q: must be an absolute path of printable characters without spaces", c.Dir)
	}
	if longest := filepath.Join(c.Dir, managementSocket); len(longest) > unixPathMax {
		return fmt.Errorf("run directory %q: socket path %s is %d bytes long, a Unix socket takes %d", c.Dir, longest, len(longest), unixPathMax)
	}
	return nil
}

func (s Settings) validate() error {
	if s.Domain < 0 || s.Domain > 255 {
		return fmt.Errorf("domain = %d: must be 0 to 255", s.Domain)
	}
	if !slices.Contains([]string{"UDPv4", "UDPv6", "L2"}, s.Transport) {
		return fmt.Errorf("transport = %q: must be \"UDPv4\", \"UDPv6\" or \"L2\"", s.Transport)
	}
	if !slices.Contains([]string{"E2E", "P2P"}, s.DelayMechanism) {
		return fmt.Errorf("delay_mechanism = %q: must be \"E2E\" or \"P2P\"", s.DelayMechanism)
	}
	for _, m := range s.Unicast {
		if err := s.validateMaster(m); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		if err := validateOption(key, s.Options[key]); err != nil {
			return err
		}
	}
	return nil
}

func (s Settings) validateMaster(master string) error {
	if s.Transport == "L2" {
		if !macPattern.MatchString(master) {
			return fmt.Errorf("unicast master %q: must be a MAC address with transport L2", master)
		}
		return nil
	}
	a, err := netip.ParseAddr(master)
	if err != nil || a.Zone() != "" || a.Is4() != (s.Transport == "UDPv4") {
		return fmt.Errorf("unicast master %q: must be an address for transport %s", master, s.Transport)
	}
	return nil
}

// ours are the options that Config decides or that would let ptp4l touch the system clock, leave
// the run directory or change its user.
var ours = []string{
	"BMCA", "boundary_clock_jbod", "clientOnly", "clock_type", "delay_mechanism", "domainNumber",
	"free_running", "kernel_leap", "logging_level", "masterOnly", "network_transport", "ntpshm_segment", "phc_index",
	"productDescription", "refclock_sock_address", "serverOnly", "slaveOnly", "slave_event_monitor", "summary_interval",
	"time_stamping", "uds_address", "uds_file_mode", "uds_ro_address", "uds_ro_file_mode", "unicast_listen",
	"unicast_master_table", "use_syslog", "user", "verbose",
}

func validateOption(key, value string) error {
	if !optionPattern.MatchString(key) {
		return fmt.Errorf("ptp4l option %q: not an option name", key)
	}
	if slices.Contains(ours, key) {
		return fmt.Errorf("ptp4l option %s: decided by clockarbiter and cannot be passed through", key)
	}
	if key == "clock_servo" && !slices.Contains([]string{"pi", "linreg"}, value) {
		return fmt.Errorf("ptp4l option clock_servo = %q: must be \"pi\" or \"linreg\"; the others hand time to another process or to the kernel", value)
	}
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r != ' ' && unprintable(r) }) {
		return fmt.Errorf("ptp4l option %s = %q: must be printable and not empty", key, value)
	}
	return nil
}

// unprintable also holds for the space, which would end a value in ptp4l.conf.
func unprintable(r rune) bool {
	return r <= ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\uFFFD' || r == '\u2028' || r == '\u2029'
}
