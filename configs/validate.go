package configs

import (
	"fmt"
	"net/netip"
	"strings"
)

// validate reports what is legal key by key and wrong together.
func validate(c *Config, r *report) {
	checkSourcesExist(c, r)
	checkDuplicates(c, r)
	checkVotes(c, r)
	checkClockLimits(c, r)
	checkArbiterLimits(c, r)
	checkProcessLimits(c, r)
	checkServing(c, r)
	for i, s := range c.NTP.Servers {
		checkServer(c, s, element("ntp.server", i), r)
	}
	for i, p := range c.PTP.Interfaces {
		checkUnicast(p, element("ptp.interface", i), r)
	}
	checkSelect(c, r)
	checkPassages(c, r)
}

// selects is the selection options of every source under its key.
func selects(c *Config, each func(key string, s Select)) {
	for i, s := range c.NTP.Servers {
		each(element("ntp.server", i), s.Select)
	}
	for i, p := range c.PTP.Interfaces {
		each(element("ptp.interface", i), p.Select)
	}
}

// possibleSources is the largest number of sources that can ever vote.
func possibleSources(c *Config) int {
	n := 0
	for _, s := range c.NTP.Servers {
		switch {
		case s.NoSelect:
		case s.Pool:
			n += s.MaxSources
		default:
			n++
		}
	}
	for _, p := range c.PTP.Interfaces {
		if !p.NoSelect {
			n++
		}
	}
	return n
}

func checkSourcesExist(c *Config, r *report) {
	if len(c.NTP.Servers)+len(c.PTP.Interfaces) > 0 || r.broken("ntp.server", "ptp.interface") || r.misplacedSource() {
		return
	}
	r.add("", "", "no source of time: write at least one [[ntp.server]] or [[ptp.interface]]", "")
}

// misplacedSource reports whether the sources may stand under a key that is misspelt or of the
// wrong type: then they are not missing.
func (r *report) misplacedSource() bool {
	for _, e := range r.errs {
		table, _, _ := strings.Cut(e.Key, ".")
		unknown := strings.HasPrefix(e.Problem, "unknown key")
		if e.Key == "ntp" || e.Key == "ptp" || unknown && (table == e.Key || table == "ntp" || table == "ptp") {
			return true
		}
	}
	return false
}

func checkDuplicates(c *Config, r *report) {
	seen := map[string]string{}
	check := func(key, value, identity string) {
		if first, dup := seen[identity]; dup {
			r.add(key, quoteValue(value), fmt.Sprintf("the same source as %s in line %d", first, r.lines.of(first)), "")
			return
		}
		seen[identity] = key
	}
	for i, s := range c.NTP.Servers {
		key := element("ntp.server", i)
		if !r.broken(key + ".address") {
			// Without the port: chronyd has one source for each address.
			check(key+".address", s.Address, "ntp "+canonicalHost(s.Address))
		}
	}
	for i, p := range c.PTP.Interfaces {
		key := element("ptp.interface", i)
		if !r.broken(key+".name", key+".domain") {
			check(key+".name", p.Name, fmt.Sprintf("ptp %s %d", p.Name, p.Domain))
		}
	}
}

func canonicalHost(s string) string {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

// checkVotes refuses demands that the configured sources can never meet.
func checkVotes(c *Config, r *report) {
	if r.broken("ntp", "ptp") || len(c.NTP.Servers)+len(c.PTP.Interfaces) == 0 {
		return
	}
	n := possibleSources(c)
	if n == 0 && c.Clock.Driver != "observe" {
		r.add("", "", `every source has noselect: nothing can steer the clock; for a host that only measures write clock.driver = "observe"`, "")
		return
	}
	demand := func(key string, value int) {
		if r.lines.has(key) && !r.broken(key) && value > max(n, 1) {
			r.add(key, quoteValue(int64(value)), fmt.Sprintf("the configured sources have %d votes at most (a pool has maxsources, noselect has none)", n), "")
		}
	}
	demand("arbiter.min_sources", c.Arbiter.MinSources)
	demand("clock.step.min_agreement", c.Clock.Step.MinAgreement)
}

// ordered refuses a lower limit that is above its upper one.
func ordered(r *report, lowKey string, low Duration, highKey string, high Duration, why string) {
	if low > high && !r.broken(lowKey, highKey) {
		r.contradiction(lowKey, highKey, quoteValue(low.String()),
			fmt.Sprintf("is above %s = %q: %s", highKey, high, why))
	}
}

func checkClockLimits(c *Config, r *report) {
	step := c.Clock.Step
	ordered(r, "clock.step.threshold", step.Threshold, "clock.step.panic", step.Panic,
		"every step after start would be refused")
	if step.WhenRunning && step.Threshold == 0 {
		r.contradiction("clock.step.when_running", "clock.step.threshold", "true",
			`contradicts clock.step.threshold = "0s" (never step)`)
	}
	if d := c.Clock.Driver; c.Clock.Enforce && d != "kernel" {
		r.contradiction("clock.enforce", "clock.driver", "true", fmt.Sprintf("contradicts clock.driver = %q, which owns no clock of this host", d))
	}
	if c.Clock.Trace && c.Clock.Driver == "virtual" {
		r.contradiction("clock.trace", "clock.driver", "true", `contradicts clock.driver = "virtual": nobody else can write to that clock`)
	}
}

func checkArbiterLimits(c *Config, r *report) {
	a := c.Arbiter
	ordered(r, "arbiter.lock_threshold", a.LockThreshold, "arbiter.holdover_max_bound", a.HoldoverMaxBound,
		"a clock could be locked and too bad for holdover at once, and the mode would flap")
	ordered(r, "arbiter.lock_threshold", a.LockThreshold, "arbiter.max_distance", a.MaxDistance,
		"the lock would be wider than the worst source")
	checkLimits(a.Limits, r)
	selects(c, func(key string, s Select) {
		ordered(r, key+".floor", s.Floor, "arbiter.max_distance", a.MaxDistance,
			"the source could never be selected")
	})
}

// maxLimits bounds what each decision carries.
const maxLimits = 16

// checkLimits wants few limits, and each above the last.
func checkLimits(limits []Duration, r *report) {
	const key = "arbiter.limits"
	if len(limits) > maxLimits {
		r.add(key, "", fmt.Sprintf("%d limits, at most %d", len(limits), maxLimits), "")
	}
	for i := 1; i < len(limits); i++ {
		if k := element(key, i); limits[i] <= limits[i-1] && !r.broken(k, element(key, i-1)) {
			r.add(k, quoteValue(limits[i].String()), fmt.Sprintf("is not above the one before it, %q", limits[i-1]), "")
		}
	}
}

func checkProcessLimits(c *Config, r *report) {
	p := c.Process
	ordered(r, "process.backoff_min", p.BackoffMin, "process.backoff_max", p.BackoffMax,
		"the first wait would be longer than the longest")
	if c.Paths.RunDir == c.Paths.StateDir && !r.broken("paths") {
		r.contradiction("paths.run_dir", "paths.state_dir", quoteValue(c.Paths.RunDir),
			"is paths.state_dir too: what must outlive a reboot cannot stand with what must not")
	}
}

func checkServing(c *Config, r *report) {
	if len(c.NTP.Allow) > 0 && c.NTP.Port == 0 && !r.broken("ntp.port") {
		r.add("ntp.port", "0", "serves nobody, but ntp.allow names clients", "")
	}
}

func checkServer(c *Config, s NTPServer, key string, r *report) {
	if s.NTS && s.Key != nil {
		r.add(key+".key", fmt.Sprint(*s.Key), "a server is authenticated with nts or with key, not with both", "")
	}
	if s.Key != nil && c.NTP.KeyFile == "" && !r.broken("ntp.keyfile") {
		r.add(key+".key", fmt.Sprint(*s.Key), "needs ntp.keyfile", "")
	}
	if !s.Pool && r.lines.has(key+".maxsources") && !r.broken(key+".pool", key+".maxsources") {
		r.add(key+".maxsources", fmt.Sprint(s.MaxSources), "is for a pool alone; write pool = true", "")
	}
	checkPolls(s, key, r)
}

// checkPolls compares the poll limits, with chronyd's own where one is not given: what chronyd
// makes of crossed ones is not what the file says.
func checkPolls(s NTPServer, key string, r *report) {
	low, high := valueOr(s.MinPoll, chronyMinPoll), valueOr(s.MaxPoll, chronyMaxPoll)
	if low <= high || r.broken(key+".minpoll", key+".maxpoll") {
		return
	}
	if s.MinPoll == nil {
		r.add(key+".maxpoll", fmt.Sprint(high), fmt.Sprintf("is below chronyd's own minpoll, %d; write both", low), "")
		return
	}
	problem := fmt.Sprintf("is above maxpoll = %d", high)
	if s.MaxPoll == nil {
		problem = fmt.Sprintf("is above chronyd's own maxpoll, %d; write both", high)
	}
	r.add(key+".minpoll", fmt.Sprint(low), problem, "")
}

func checkUnicast(p PTPInterface, key string, r *report) {
	if r.broken(key + ".transport") {
		return
	}
	forms := map[string]string{
		"UDPv4": "IPv4 addresses (transport UDPv4)",
		"UDPv6": "IPv6 addresses (transport UDPv6)",
		"L2":    `MAC addresses such as "00:11:22:33:44:55" (transport L2)`,
	}
	for i, address := range p.Unicast {
		k := element(key+".unicast", i)
		if !r.broken(k) && !isUnicastMaster(address, p.Transport) {
			r.add(k, quoteValue(address), "", forms[p.Transport])
		}
	}
}

func checkSelect(c *Config, r *report) {
	selects(c, func(key string, s Select) {
		if !s.NoSelect || r.broken(key+".noselect") {
			return
		}
		for _, o := range []struct {
			name string
			set  bool
		}{{"prefer", s.Prefer}, {"trust", s.Trust}, {"require", s.Require}} {
			if o.set {
				r.add(key+"."+o.name, "true", "contradicts noselect = true", "")
			}
		}
	})
}
