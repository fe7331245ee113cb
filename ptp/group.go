package ptp

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"clockarbiter/sources"
)

// Port is one configured interface with the mode that was chosen for it, before ports are grouped
// into engines.
type Port struct {
	Interface string
	Mode      Mode
	PHC       sources.Optional[int]
	// Settings is everything that ports of one engine must have in common.
	Settings
}

// Settings are the options of a ptp4l instance that the configuration decides.
type Settings struct {
	Domain         int    // 0..255 (IEEE 1588-2019, 7.1; 128 and up are reserved there, yet used)
	Transport      string // "UDPv4", "UDPv6" or "L2"
	DelayMechanism string // "E2E" or "P2P"
	// Unicast holds the addresses of unicast masters; empty: multicast.
	Unicast []string
	// Options are further options of ptp4l's [global] section.
	Options map[string]string
	// UTCOffset overrides what the grandmaster says of master time - UTC: 37 s for a grandmaster
	// that serves TAI without saying so, 0 for one that serves UTC whatever it says. Absent: as
	// advertised.
	UTCOffset sources.Optional[time.Duration]
}

// Equal reports whether one ptp4l could serve ports with a and ports with b.
func (a Settings) Equal(b Settings) bool {
	return a.Domain == b.Domain && a.Transport == b.Transport && a.DelayMechanism == b.DelayMechanism &&
		slices.Equal(a.Unicast, b.Unicast) && maps.Equal(a.Options, b.Options) && a.UTCOffset == b.UTCOffset
}

// Engine is one ptp4l instance to be.
type Engine struct {
	// Name is unique among the engines of a plan and fit for a file name: "eth0-24".
	Name       string
	Interfaces []string
	Mode       Mode
	PHC        sources.Optional[int]
	Settings
}

// Group puts ports that share a PHC, a domain and all settings into one engine, because two ptp4l
// instances would fight over that PHC. Ports with software timestamps get an engine each. The order
// of the ports is kept. Two ports on one PHC with different settings are an error.
func Group(ports []Port) ([]Engine, error) {
	var engines []Engine
	seen := map[sources.ID]bool{}
	for _, p := range ports {
		id := SourceID(p.Interface, p.Domain)
		if seen[id] {
			return nil, fmt.Errorf("interface %s is configured twice for domain %d", p.Interface, p.Domain)
		}
		seen[id] = true
		i := slices.IndexFunc(engines, func(e Engine) bool { return sharesPHC(e, p) })
		if i < 0 {
			engines = append(engines, newEngine(p))
			continue
		}
		if !engines[i].Equal(p.Settings) {
			return nil, fmt.Errorf("interfaces %s and %s share /dev/ptp%d: domain, transport, delay mechanism, unicast, utc_offset and options must be the same, one PHC follows one master",
				engines[i].Interfaces[0], p.Interface, p.PHC.Or(-1))
		}
		engines[i].Interfaces = append(engines[i].Interfaces, p.Interface)
	}
	return engines, nil
}

func sharesPHC(e Engine, p Port) bool {
	n, ok := p.PHC.Get()
	return e.Mode == Hardware && p.Mode == Hardware && ok && e.PHC.Is(n)
}

func newEngine(p Port) Engine {
	return Engine{
		Name:       fmt.Sprintf("%s-%d", p.Interface, p.Domain),
		Interfaces: []string{p.Interface},
		Mode:       p.Mode,
		PHC:        p.PHC,
		Settings:   p.Settings,
	}
}

// SourceID names the source behind an interface and a domain.
func SourceID(iface string, domain int) sources.ID {
	return sources.ID(fmt.Sprintf("ptp:%s:%d", iface, domain))
}
