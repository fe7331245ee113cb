package configs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What the raw passages of the configuration must not say, each with the reason and the remedy.
// Refused is what the supervisor renders itself and what would give chronyd or ptp4l a hand on the
// clock; everything else is passed through, and chronyd or ptp4l judges it.

// reservedDirectives are refused in ntp.extra. Names are lower case: chronyd ignores case.
var reservedDirectives = map[string]string{
	"allow":          "write it in ntp.allow",
	"bindcmdaddress": "the command socket is the supervisor's",
	"bindcmddevice":  "the command socket is the supervisor's",
	"cmdallow":       "the command socket is the supervisor's",
	"cmdport":        "the command socket is the supervisor's",
	"confdir":        "what it includes cannot be checked; write the directives here",
	"corrtimeratio":  "chronyd does not correct the clock; see clock.max_slew_ppm",
	"driftfile":      "a stored frequency would bend the measurements",
	"dumpdir":        "the supervisor reads its samples there",
	"dumponexit":     "the supervisor reads its samples there",
	"fallbackdrift":  "chronyd's frequency must stay 0 for its measurements to be raw",
	"hwclockfile":    "the supervisor alone sets clocks",
	"include":        "what it includes cannot be checked; write the directives here",
	"initstepslew":   "the supervisor alone steps the clock; see clock.step",
	"keyfile":        "write it in ntp.keyfile",
	"leapseclist":    "the supervisor alone applies leap seconds",
	"leapsecmode":    "the supervisor alone applies leap seconds",
	"leapsectz":      "the supervisor alone applies leap seconds",
	"local":          "chronyd would serve time that the supervisor does not vouch for",
	"mailonchange":   "it starts a program; the journal has the event",
	"makestep":       "the supervisor alone steps the clock; see clock.step",
	"manual":         "the supervisor alone sets the clock",
	"maxchange":      "chronyd would exit on a step; see clock.step.panic",
	"maxdrift":       "chronyd's frequency must stay 0; see clock.max_frequency_ppm",
	"maxsamples":     "it decides which samples the supervisor sees",
	"maxslewrate":    "chronyd does not slew the clock; see clock.max_slew_ppm",
	"maxupdateskew":  "chronyd could refuse the supervisor's feed",
	"minsamples":     "it decides which samples the supervisor sees",
	"minsources":     "the supervisor's feed is chronyd's only selectable source; see arbiter.min_sources",
	"ntsdumpdir":     "the directory is the supervisor's",
	"opencommands":   "the command socket is the supervisor's",
	"peer":           "write a [[ntp.server]]; a symmetric peer is not supported",
	"pidfile":        "the supervisor knows its children",
	"pool":           "write a [[ntp.server]] with pool = true",
	"port":           "write it in ntp.port",
	"ptpport":        "the port is ptp4l's",
	"refclock":       "the supervisor's feed must be chronyd's only reference clock",
	"rtcautotrim":    "the supervisor alone sets clocks",
	"rtcdevice":      "the supervisor alone sets clocks",
	"rtcfile":        "the supervisor alone sets clocks",
	"rtconutc":       "the supervisor alone sets clocks",
	"rtcsync":        "the supervisor alone tells the kernel that the clock is synchronised",
	"server":         "write a [[ntp.server]]",
	"smoothtime":     "served time would not be the system clock",
	"sourcedir":      "what it includes cannot be checked; write a [[ntp.server]]",
	"tempcomp":       "chronyd's frequency must stay 0 for its measurements to be raw",
	"user":           "write it in ntp.user",
}

// reservedServerOptions are refused in ntp.server.options.
var reservedServerOptions = map[string]string{
	"auto_offline": "a source that chronyd takes offline by itself stays there",
	"iburst":       "write iburst = true",
	"key":          "write it as the key \"key\" of the server",
	"maxpoll":      "write maxpoll = N",
	"maxsamples":   "it decides which samples the supervisor sees",
	"maxsources":   "write maxsources = N",
	"minpoll":      "write minpoll = N",
	"minsamples":   "it decides which samples the supervisor sees",
	"noselect":     "chronyd selects nothing; for the arbiter write noselect = true",
	"nts":          "write nts = true",
	"offline":      "the server would never be measured",
	"port":         "write port = N",
	"prefer":       "chronyd selects nothing; for the arbiter write prefer = true",
	"require":      "chronyd selects nothing; for the arbiter write require = true",
	"trust":        "chronyd selects nothing; for the arbiter write trust = true",
	"xleave":       "write xleave = true",
}

// reservedPTPOptions are refused in ptp.interface.options. Names are lower case: ptp4l does not
// ignore case, but a name that differs in case alone is meant to be the same.
var reservedPTPOptions = map[string]string{
	"bmca":                  "the supervisor reads the grandmaster that the algorithm finds",
	"boundary_clock_jbod":   "an interface is one ordinary clock",
	"client_only":           "ptp4l is always a client",
	"clientonly":            "ptp4l is always a client",
	"clock_servo":           "the supervisor chooses the servo that keeps its hands off the system clock",
	"clock_type":            "an interface is one ordinary clock",
	"delay_mechanism":       "write the key delay_mechanism",
	"domainnumber":          "write the key domain",
	"first_step_threshold":  "the supervisor renders it: a clock of the interface that is far off must be stepped, not slewed for hours",
	"free_running":          "the supervisor renders it: without it ptp4l steers the system clock in software mode",
	"gmcapable":             "ptp4l is always a client",
	"inhibit_delay_req":     "without a path delay there is no offset",
	"kernel_leap":           "the supervisor alone applies leap seconds",
	"logging_level":         "the supervisor reads the log; see log.level",
	"max_frequency":         "the supervisor renders it: a clock of the interface that is far off must be stepped, not slewed at any rate",
	"masteronly":            "ptp4l is always a client",
	"message_tag":           "the supervisor reads the log",
	"network_transport":     "write the key transport",
	"ntpshm_segment":        "nobody reads it",
	"phc_index":             "the clock is always the interface's own",
	"productdescription":    "the supervisor recognises its engine by it",
	"refclock_sock_address": "nobody reads it",
	"serveronly":            "ptp4l is always a client",
	"slave_event_monitor":   "the supervisor reads its samples there",
	"slaveonly":             "ptp4l is always a client",
	"step_threshold":        "the supervisor renders it: a clock of the interface that is far off must be stepped, not slewed for hours",
	"summary_interval":      "the supervisor reads the samples themselves",
	"time_stamping":         "write the key timestamping",
	"twostepflag":           "ptp4l is always a client",
	"uds_address":           "the management socket is the supervisor's",
	"uds_file_mode":         "the management socket is the supervisor's",
	"uds_ro_address":        "the management socket is the supervisor's",
	"uds_ro_file_mode":      "the management socket is the supervisor's",
	"unicast_listen":        "ptp4l is always a client",
	"unicast_master_table":  "write the key unicast",
	"use_syslog":            "the supervisor reads the log",
	"user":                  "write it in ptp.user",
	"utc_offset":            "write the key utc_offset",
	"verbose":               "the supervisor reads the log",
	"write_phase_mode":      "the clock of the interface would be corrected where the supervisor cannot see it",
}

// checkPassages refuses what the raw passages must not say.
func checkPassages(c *Config, r *report) {
	for i, line := range c.NTP.Extra {
		key := element("ntp.extra", i)
		if !r.broken(key) {
			checkDirective(c, r, key, line)
		}
	}
	for i, s := range c.NTP.Servers {
		for j, option := range s.Options {
			checkServerOption(r, element(element("ntp.server", i)+".options", j), option)
		}
	}
	for i, p := range c.PTP.Interfaces {
		for _, name := range slices.Sorted(maps.Keys(p.Options)) {
			checkPTPOption(r, member(element("ptp.interface", i)+".options", name), name, p.Options[name])
		}
	}
}

func checkDirective(c *Config, r *report, key, line string) {
	words := strings.Fields(line)
	if len(words) == 0 || !optionForm.MatchString(words[0]) {
		r.add(key, quoteValue(line), "is not a directive of chrony.conf", "")
		return
	}
	name := strings.ToLower(words[0])
	if why, refused := reservedDirectives[name]; refused {
		r.add(key, quoteValue(line), fmt.Sprintf("directive %s is refused: %s", name, why), "")
	}
	if name == "hwtimestamp" && len(words) > 1 {
		checkHWTimestamp(c, r, key, line, words[1])
	}
}

// checkHWTimestamp keeps chronyd off the receive filter of ptp4l's interfaces: both would set it
// with SIOCSHWTSTAMP, and the later one wins.
func checkHWTimestamp(c *Config, r *report, key, line, iface string) {
	for _, p := range c.PTP.Interfaces {
		if p.Timestamping != "software" && (iface == "*" || iface == p.Name) {
			r.add(key, quoteValue(line), "ptp4l owns the hardware timestamps of "+p.Name+"; name other interfaces", "")
			return
		}
	}
}

func checkServerOption(r *report, key, option string) {
	if r.broken(key) {
		return
	}
	words := strings.Fields(option)
	if len(words) == 0 || !optionForm.MatchString(words[0]) {
		r.add(key, quoteValue(option), "is not an option of chronyd's server directive", "")
	}
	for _, word := range words {
		if why, refused := reservedServerOptions[strings.ToLower(word)]; refused {
			r.add(key, quoteValue(option), fmt.Sprintf("option %s is refused: %s", strings.ToLower(word), why), "")
		}
	}
}

func checkPTPOption(r *report, key, name, value string) {
	if r.broken(key) {
		return
	}
	why, refused := reservedPTPOptions[strings.ToLower(name)]
	switch {
	case refused:
		r.add(key, quoteValue(value), "option is refused: "+why, "")
	case !optionForm.MatchString(name):
		r.add(key, quoteValue(value), "is not the name of a ptp4l option", "")
	case strings.TrimSpace(value) == "":
		r.add(key, quoteValue(value), "has no value", "")
	}
}
