package configs

import "fmt"

// Warnings returns what is legal and doubtful in a valid configuration, without file and line;
// LoadWithWarnings knows those.
func Warnings(c *Config) []Error {
	var ws []Error
	warn := func(key, value, problem string) {
		ws = append(ws, Error{Key: key, Value: value, Problem: problem})
	}
	warnVotes(c, warn)
	warnClock(c, warn)
	warnArbiter(c, warn)
	warnServing(c, warn)
	return ws
}

type warnFunc func(key, value, problem string)

func warnVotes(c *Config, warn warnFunc) {
	ntp, ptp := votes(c)
	switch {
	case ntp+ptp == 0:
		warn("", "", "every source has noselect: there will be measurements and no decision")
	case ntp == 0:
		warn("ptp.interface", "", "PTP alone: a grandmaster that is wrong, by 37 s of TAI for instance, is found out only by a vote of NTP servers")
	case ntp+ptp == 1:
		warn("ntp.server", "", "one NTP server: nothing can tell when it is wrong; RFC 8633 3.2 advises four")
	case ntp+ptp == 2:
		warn("", "", "two sources: when they disagree, neither can be shown wrong; arbiter.disagreement decides")
	}
	trusted := 0
	selects(c, func(_ string, s Select) {
		if s.Trust {
			trusted++
		}
	})
	if trusted == 1 && ntp+ptp > 1 {
		warn("", "", "one trusted source out-votes all others, also when it is wrong")
	}
}

// votes counts the NTP and PTP sources that may be selected.
func votes(c *Config) (ntp, ptp int) {
	for _, p := range c.PTP.Interfaces {
		if !p.NoSelect {
			ptp++
		}
	}
	return possibleSources(c) - ptp, ptp
}

func warnClock(c *Config, warn warnFunc) {
	step := c.Clock.Step
	if step.WhenRunning && step.MinAgreement == 1 {
		warn("clock.step.when_running", "true", "with one source's word a running clock is stepped to wherever that source says")
	}
	if c.Clock.Driver == "virtual" || c.Clock.Virtual == (VirtualClock{}) {
		return
	}
	warn("clock.virtual", "", fmt.Sprintf("means nothing with clock.driver = %q", c.Clock.Driver))
}

func warnArbiter(c *Config, warn warnFunc) {
	a := c.Arbiter
	if a.DegradationHold > a.ImprovementHold {
		warn("arbiter.degradation_hold", quoteValue(a.DegradationHold.String()),
			fmt.Sprintf("is above arbiter.improvement_hold = %q: a bad source is kept longer than a good one is tested", a.ImprovementHold))
	}
	if a.MaxJitter > a.MaxDistance {
		warn("arbiter.max_jitter", quoteValue(a.MaxJitter.String()),
			fmt.Sprintf("is above arbiter.max_distance = %q and never reached", a.MaxDistance))
	}
}

func warnServing(c *Config, warn warnFunc) {
	if c.NTP.Port != 0 && len(c.NTP.Allow) == 0 {
		warn("ntp.port", fmt.Sprint(c.NTP.Port), "serves nobody without ntp.allow")
	}
	for i, s := range c.NTP.Servers {
		if s.Pool && valueOr(s.MinPoll, chronyMinPoll) < chronyMinPoll {
			warn(element("ntp.server", i)+".minpoll", fmt.Sprint(*s.MinPoll),
				"polls servers of a pool, which belong to others, more often than every 64 s")
		}
	}
	for _, u := range []struct{ key, name string }{{"ntp.user", c.NTP.User}, {"ptp.user", c.PTP.User}} {
		if u.name == "root" {
			warn(u.key, quoteValue(u.name), "a child that runs as root is held back by its capabilities alone")
		}
	}
}
