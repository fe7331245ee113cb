package supervisor

import (
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"clockarbiter/configs"
	"clockarbiter/ptp"
	"clockarbiter/sources"
)

// planPTP plans one ptp4l per interface or shared PHC. An interface that cannot be used as things
// are gets a child too, with its problem: the others go on, and the problem has a name.
func planPTP(cfg *configs.Config, facts Facts) []Child {
	var ports []ptp.Port
	var out []Child
	for _, i := range cfg.PTP.Interfaces {
		port, problem := choosePort(i, facts)
		if problem != "" {
			out = append(out, newPTPChild(cfg, facts, soloEngine(port), problem))
			continue
		}
		ports = append(ports, port)
	}
	engines, err := ptp.Group(ports)
	if err != nil { // two interfaces that contradict each other: neither can be preferred
		for _, p := range ports {
			out = append(out, newPTPChild(cfg, facts, soloEngine(p), err.Error()))
		}
	}
	for _, e := range engines {
		out = append(out, newPTPChild(cfg, facts, e, ""))
	}
	slices.SortStableFunc(out, func(a, b Child) int { return firstPosition(cfg, a) - firstPosition(cfg, b) })
	return out
}

// choosePort decides the timestamping mode of an interface, or says why there is none.
func choosePort(i configs.PTPInterface, facts Facts) (ptp.Port, string) {
	port := ptp.Port{Interface: i.Name, Mode: ptp.Software, Settings: ptp.Settings{
		Domain: i.Domain, Transport: i.Transport, DelayMechanism: i.DelayMechanism,
		Unicast: i.Unicast, Options: i.Options, UTCOffset: utcOverride(i.UTCOffset),
	}}
	k := slices.IndexFunc(facts.Interfaces, func(f InterfaceFacts) bool { return f.Name == i.Name })
	if k < 0 {
		return port, "interface " + i.Name + " was not probed"
	}
	f := facts.Interfaces[k]
	if f.Problem != "" {
		return port, f.Problem
	}
	mode, _, err := ptp.ChooseMode(i.Timestamping, f.Capabilities)
	if err != nil {
		return port, err.Error()
	}
	port.Mode, port.PHC = mode, f.Capabilities.PHC
	return port, ""
}

func soloEngine(p ptp.Port) ptp.Engine {
	engines, err := ptp.Group([]ptp.Port{p})
	if err != nil {
		panic("one port cannot contradict itself: " + err.Error())
	}
	return engines[0]
}

// utcOverride reads the configured utc_offset, which configs has checked.
func utcOverride(s string) sources.Optional[time.Duration] {
	n, err := strconv.Atoi(s)
	if err != nil { // "advertised"
		return sources.None[time.Duration]()
	}
	return sources.Some(time.Duration(n) * time.Second)
}

func newPTPChild(cfg *configs.Config, facts Facts, e ptp.Engine, problem string) Child {
	release, _ := ptp.ParseRelease(facts.PTP4L.Version) // unknown: rendered for every release since 3.1
	dir := filepath.Join(cfg.Paths.RunDir, "ptp4l-"+e.Name)
	pc := ptp.Config{
		Binary: facts.PTP4L.Path, Version: release, Dir: dir, Interfaces: e.Interfaces, Mode: e.Mode,
		PHC: e.PHC, Settings: e.Settings,
	}
	c := Child{
		Name: "ptp4l-" + e.Name, Dir: dir, User: facts.PTPUser, ptp: &pc,
		Argv: ptp.Argv(pc), Capabilities: ptp.LinuxCapabilities(pc), ports: portsOf(e, facts),
		Problem: firstOf(problem, facts.PTP4L.Problem, facts.PTPUser.Problem),
	}
	conf, err := ptp.Render(pc)
	if err != nil {
		c.Problem = firstOf(c.Problem, err.Error())
		return c
	}
	c.Files = []File{{Path: pc.ConfigPath(), Content: conf}}
	return c
}

// portsOf are the engine's interfaces as they were found.
func portsOf(e ptp.Engine, facts Facts) []port {
	var out []port
	for _, f := range facts.Interfaces {
		if slices.Contains(e.Interfaces, f.Name) {
			out = append(out, port{name: f.Name, index: f.Index, phc: f.Capabilities.PHC})
		}
	}
	return out
}

// firstPosition is the place of a child's first interface in the configuration.
func firstPosition(cfg *configs.Config, c Child) int {
	return slices.IndexFunc(cfg.PTP.Interfaces, func(i configs.PTPInterface) bool {
		return i.Name == c.ptp.Interfaces[0] && i.Domain == c.ptp.Domain
	})
}

// A PTP source is given up (the arbiter's Stale) when so many Syncs in a row brought nothing.
const (
	ptpMissedSyncs = 4
	ptpMinMaxAge   = 2 * time.Second
)

func planPTPSources(cfg *configs.Config, engines []Child) []PlannedSource {
	out := make([]PlannedSource, 0, len(cfg.PTP.Interfaces))
	for _, i := range cfg.PTP.Interfaces {
		o := options(cfg, i.Select)
		if o.MaxAge == 0 {
			o.MaxAge = max(ptpMinMaxAge, ptpMissedSyncs*syncInterval(i))
		}
		out = append(out, PlannedSource{
			ID: ptp.SourceID(i.Name, i.Domain), Kind: sources.PTP, Options: o, Child: engineOf(engines, i),
		})
	}
	return out
}

func engineOf(engines []Child, i configs.PTPInterface) string {
	for _, c := range engines {
		if c.ptp.Domain == i.Domain && slices.Contains(c.ptp.Interfaces, i.Name) {
			return c.Name
		}
	}
	return ""
}

// syncInterval is what the port announces; a grandmaster that sends less often needs it configured.
func syncInterval(i configs.PTPInterface) time.Duration {
	n, err := strconv.Atoi(i.Options["logSyncInterval"])
	if err != nil { // absent: ptp4l's default of 2^0 s
		n = 0
	}
	return log2Seconds(n)
}
