package chrony

import "path/filepath"

// Config is everything that decides how chronyd is run. It is a value: Render, Argv and
// Capabilities are functions of it alone.
type Config struct {
	// Binary is the path of chronyd.
	Binary string
	// Dir is the private directory, absolute; see the package comment for who may enter it.
	Dir string
	// User is the account that chronyd runs as. Empty: the account that starts it, which must
	// then be the one that the distribution compiled into chronyd.
	User string
	// Servers are the NTP servers and pools, in the order of the configuration.
	Servers []Server
	// Allow lists the subnets that are served the system clock. Empty: nobody.
	Allow []string
	// Port is the UDP port of the NTP server. 0: not serving.
	Port int
	// Stratum is the stratum that clients are shown, 1 to 15, when chronyd serves. It is static:
	// chronyd cannot know what the system clock follows. 0: DefaultStratum.
	Stratum int
	// KeyFile holds the symmetric keys (chrony.keys(5)). Empty: none.
	KeyFile string
	// NTSDumpDir keeps NTS keys and cookies over a restart. chronyd writes there at every poll
	// of the Monitor whose cookies changed. Empty: none are kept.
	NTSDumpDir string
	// Extra are further directives, one per element. Those that would undo what this package
	// relies on are refused.
	Extra []string
}

// DefaultStratum is what a serving chronyd shows where the configuration does not say: low enough
// to be used and never preferred to a server that knows its own stratum.
const DefaultStratum = 4

// Server is one server or pool of the configuration.
type Server struct {
	// Name identifies the server for as long as it is configured; its source is "ntp:" + Name.
	// Empty: Address.
	Name string
	// Address is a host name or an IP address.
	Address string
	// Pool takes several addresses of the name; MaxSources limits them, 0: chronyd's default of 4.
	Pool       bool
	MaxSources int
	// MinPoll and MaxPoll are in log2 seconds. Absent: chronyd's defaults of 6 and 10.
	MinPoll, MaxPoll *int
	// IBurst sends the first requests 2 s apart, XLeave uses interleaved mode, NTS authenticates.
	IBurst, XLeave, NTS bool
	// Key is the number of a symmetric key in KeyFile. Absent: not authenticated.
	Key *uint32
	// Port is the server's UDP port. 0: 123.
	Port int
	// Options are passed through, each an option with its value: "maxdelay 0.1".
	Options []string
}

// ID returns the name of the server's source, without the address of a pool member.
func (s Server) ID() string {
	if s.Name != "" {
		return "ntp:" + s.Name
	}
	return "ntp:" + s.Address
}

// ConfigFile is where the rendered configuration belongs.
func (c Config) ConfigFile() string { return filepath.Join(c.Dir, "chrony.conf") }

// CommandSocket is where chronyd answers commands.
func (c Config) CommandSocket() string { return filepath.Join(c.Dir, "chronyd.sock") }

// MonitorSocket is the Monitor's own end of the command socket.
func (c Config) MonitorSocket() string { return filepath.Join(c.Dir, "monitor.sock") }

// FeedSocket is where chronyd reads its reference clock.
func (c Config) FeedSocket() string { return filepath.Join(c.Dir, "refclock.sock") }

// DumpDir is where chronyd writes its samples.
func (c Config) DumpDir() string { return filepath.Join(c.Dir, "dump") }

// PIDFile is chronyd's lock against a second instance in the same Dir. It is not removed when
// chronyd is killed, and chronyd then refuses to start as soon as the number belongs to any live
// process: remove it before starting chronyd, when the previous one is known to be gone.
func (c Config) PIDFile() string { return filepath.Join(c.Dir, "chronyd.pid") }

// Serves reports whether chronyd answers NTP clients.
func (c Config) Serves() bool { return c.Port != 0 && len(c.Allow) > 0 }
