package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"clockarbiter/supervisor/rivals"
)

// severity is how much a finding matters: info, warning, error.
type severity string

const (
	severityInfo    severity = "ok"
	severityWarning severity = "warning"
	severityError   severity = "ERROR"
)

// MarshalText is the word in JSON.
func (s severity) MarshalText() ([]byte, error) { return []byte(strings.ToLower(string(s))), nil }

// finding is one thing that the doctor saw, with what to do about it. An empty remedy: nothing.
type finding struct {
	Severity severity `json:"severity"`
	Subject  string   `json:"subject"`
	Text     string   `json:"text"`
	Remedy   string   `json:"remedy,omitempty"`
}

// leapWarning is how long before its end a leap second table is reported.
const leapWarning = 60 * 24 * time.Hour

// examine judges the facts. The gravest findings come first, in the order of the examination else.
func examine(f facts) []finding {
	list := slices.Concat(
		configFindings(f), ownUnitFindings(f), rivalFindings(f), unitFindings(f), timedatectlFindings(f), privilegeFindings(f),
		deviceFindings(f), leapFindings(f), machineFindings(f), bpfFindings(f), apparmorFindings(f),
	)
	grade := map[severity]int{severityError: 0, severityWarning: 1, severityInfo: 2}
	slices.SortStableFunc(list, func(a, b finding) int { return cmp.Compare(grade[a.Severity], grade[b.Severity]) })
	return list
}

func configFindings(f facts) []finding {
	switch {
	case f.ConfigProblem != "":
		return []finding{{severityError, "config", f.ConfigProblem, "clockarbiter check " + f.ConfigPath}}
	case f.ConfigPath == "":
		return []finding{{severityWarning, "config", "there is no configuration yet", "write " + defaultConfig + "; configs/reference.toml documents every key"}}
	}
	list := []finding{{severityInfo, "config", fmt.Sprintf("%s is valid, driver %s", f.ConfigPath, f.Driver), ""}}
	for _, p := range f.PlanProblems {
		list = append(list, finding{severityError, "engine", p, "the engine cannot start as things are; mend this or its configuration"})
	}
	return list
}

func rivalFindings(f facts) []finding {
	if f.RivalsProblem != "" {
		return []finding{{severityWarning, "rivals", "processes not completely known: " + f.RivalsProblem, "run as root"}}
	}
	var list []finding
	for _, pid := range f.Supervisors {
		list = append(list, finding{severityInfo, "owner", fmt.Sprintf("clockarbiter runs (pid %d)", pid), ""})
	}
	if len(f.Supervisors) > 1 {
		list = append(list, finding{severityError, "owner", fmt.Sprintf("%d supervisors run", len(f.Supervisors)), "leave one; a clock has one owner"})
	}
	root := 0
	for _, s := range f.Rivals {
		switch {
		case s.Weight == rivals.WeightRoot:
			root++
		case s.Daemon != "" && s.MayWrite:
			list = append(list, finding{severityError, "rival", s.String() + ": " + s.Reason, stop(s)})
		case s.MayWrite:
			list = append(list, finding{severityWarning, "rival", s.String() + ": " + s.Reason, "find out what it needs CAP_SYS_TIME for, and take it away if nothing: " + take(s)})
		default:
			list = append(list, finding{severityWarning, "rival", s.String() + ": " + s.Reason, "it cannot write to the clock as it runs now; a restart with other settings could: " + stop(s)})
		}
	}
	if len(list) == len(f.Supervisors) {
		list = append(list, finding{severityInfo, "rivals", fmt.Sprintf("no clock daemon runs beside clockarbiter; what root runs may write to the clock as well: %d process(es)", root), ""})
	}
	return list
}

// stop says how a clock daemon is stopped for good.
func stop(s rivals.Suspect) string {
	switch {
	case s.Container != "":
		return "stop it in " + s.Container + ", or run the container without CAP_SYS_TIME"
	case strings.HasSuffix(s.Unit, ".service"):
		return "systemctl disable --now " + s.Unit
	}
	return fmt.Sprintf("stop pid %d and whatever starts it", s.PID)
}

func take(s rivals.Suspect) string {
	switch {
	case s.Container != "":
		return "run the container with --cap-drop SYS_TIME"
	case strings.HasSuffix(s.Unit, ".service"):
		return "ProtectClock=yes in a drop-in of " + s.Unit
	}
	return fmt.Sprintf("pid %d", s.PID)
}

func unitFindings(f facts) []finding {
	if f.UnitsProblem != "" {
		return []finding{{severityInfo, "systemd", f.UnitsProblem, ""}}
	}
	var list []finding
	for _, u := range f.Units {
		switch {
		case u.Active == "active":
			list = append(list, finding{severityError, "unit", u.Name + " is active", "systemctl disable --now " + u.Name})
		case u.Enabled == "enabled" || u.Enabled == "enabled-runtime":
			list = append(list, finding{severityError, "unit", u.Name + " is enabled: at the next boot it competes with clockarbiter for the clock", "systemctl disable " + u.Name})
		}
	}
	if len(list) == 0 {
		list = append(list, finding{severityInfo, "systemd", "no unit of another clock daemon is active or enabled", ""})
	}
	return list
}

func timedatectlFindings(f facts) []finding {
	var list []finding
	t := f.Timedatectl
	// With our ntp-units.d file, set-ntp means clockarbiter, and yes is as it should be.
	if t["NTP"] == "yes" && len(f.Supervisors) == 0 {
		list = append(list, finding{severityWarning, "timedatectl", "a time service that systemd knows is enabled (NTP=yes), and clockarbiter does not run", "timedatectl set-ntp false, or install and enable clockarbiter with its ntp-units.d"})
	}
	if t["LocalRTC"] == "yes" {
		list = append(list, finding{severityWarning, "timedatectl", "the hardware clock keeps local time: it is an hour off after a change of daylight saving time", "timedatectl set-local-rtc 0"})
	}
	if len(t) > 0 && len(list) == 0 {
		list = append(list, finding{severityInfo, "timedatectl", fmt.Sprintf("NTP=%s, NTPSynchronized=%s", t["NTP"], t["NTPSynchronized"]), ""})
	}
	return list
}

func privilegeFindings(f facts) []finding {
	var list []finding
	switch {
	case f.MayWrite:
		list = append(list, finding{severityInfo, "privilege", "this process may adjust the clock (CAP_SYS_TIME)", ""})
	case f.Root:
		list = append(list, finding{severityError, "privilege", "root here has no CAP_SYS_TIME: a container without it",
			`run the container with CAP_SYS_TIME, or choose clock.driver = "observe"`})
	default:
		list = append(list, finding{severityWarning, "privilege", "not run as root: other processes are only partly visible", "sudo clockarbiter doctor"})
	}
	if f.Kernel != "" {
		list = append(list, finding{severityInfo, "kernel", f.Kernel, ""})
	}
	return list
}

func deviceFindings(f facts) []finding {
	var list []finding
	for _, p := range f.PHCs {
		text := fmt.Sprintf("%s: %s; used by %s", p.Device, p.Name, orNobody(p.Users))
		if others(p.Users) > 1 {
			list = append(list, finding{severityWarning, "phc", text, "see that one of them alone adjusts it"})
			continue
		}
		list = append(list, finding{severityInfo, "phc", text, ""})
	}
	if len(f.PHCs) == 0 {
		list = append(list, finding{severityInfo, "phc", "there is none", ""})
	}
	for _, i := range f.Interfaces {
		switch {
		case i.Problem != "" && i.Configured:
			list = append(list, finding{severityError, "interface", i.Problem, "another interface, driver or timestamping in [[ptp.interface]]"})
		case i.Problem != "":
			list = append(list, finding{severityInfo, "interface", i.Problem, ""})
		default:
			list = append(list, finding{severityInfo, "interface", i.Abilities, ""})
		}
	}
	return list
}

// others counts the users that do more than read, as clockarbiter does.
func others(users []string) int {
	n := 0
	for _, u := range users {
		if !strings.HasPrefix(u, "clockarbiter ") {
			n++
		}
	}
	return n
}

func orNobody(users []string) string {
	if len(users) == 0 {
		return "nobody"
	}
	return strings.Join(users, ", ")
}

func leapFindings(f facts) []finding {
	t := f.Leap
	remedy := "update tzdata"
	if t.Problem != "" {
		return []finding{{severityWarning, "leap", t.Problem, remedy}}
	}
	if t.Path == "" {
		return []finding{{severityInfo, "leap", "no leap second table is used, as configured", ""}}
	}
	left := t.Expires.Sub(f.Now)
	until := t.Expires.Format(time.DateOnly)
	switch {
	case left <= 0:
		return []finding{{severityWarning, "leap", fmt.Sprintf("%s expired on %s: a leap second could be missed", t.Path, until), remedy}}
	case left < leapWarning:
		return []finding{{severityWarning, "leap", fmt.Sprintf("%s expires soon, on %s", t.Path, until), remedy}}
	}
	return []finding{{severityInfo, "leap", fmt.Sprintf("%s is valid until %s", t.Path, until), ""}}
}

// goodClocksources are the counters that are fast to read and do not stop (Linux, drivers/clocksource
// and arch).
var goodClocksources = []string{"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen", "timebase", "tod", "riscv_clocksource"}

func machineFindings(f facts) []finding {
	var list []finding
	switch {
	case f.Clocksource == "":
		list = append(list, finding{severityWarning, "clocksource", "the kernel's clock source is not readable", ""})
	case !slices.Contains(goodClocksources, f.Clocksource):
		list = append(list, finding{severityWarning, "clocksource", f.Clocksource + " is slow to read or coarse; the kernel chose it because a better one was found unstable, or none is there",
			"dmesg | grep -i clocksource; on bare metal look at firmware and C-states, in a virtual machine at the hypervisor's clock"})
	default:
		list = append(list, finding{severityInfo, "clocksource", f.Clocksource, ""})
	}
	switch {
	case f.Virtual == "" || f.Virtual == "none":
		list = append(list, finding{severityInfo, "machine", "bare metal, as far as it can be seen", ""})
	default:
		text, remedy := "virtual machine or container: "+f.Virtual, ""
		if r, ok := hypervisors[f.Virtual]; ok {
			remedy = r
		}
		list = append(list, finding{severityInfo, "machine", text, remedy})
	}
	return list
}

// hypervisors says how each is kept from the guest's clock. Keys are those of systemd-detect-virt(1).
var hypervisors = map[string]string{
	"kvm":       "the host's clock is readable as a PHC: modprobe ptp_kvm; qemu-ga sets the time after a pause: block guest-set-time",
	"qemu":      "qemu-ga sets the time after a pause: block guest-set-time",
	"vmware":    "vmware-toolbox-cmd timesync disable; see also the time settings of the virtual machine (tools.syncTime)",
	"oracle":    "VBoxService --disable-timesync",
	"microsoft": "disable the time synchronisation integration service, or use its PHC (/dev/ptp_hyperv)",
	"amazon":    "the host's clock is readable as a PHC with the ena driver (phc_enable=1)",
}

func apparmorFindings(f facts) []finding {
	a := f.AppArmor
	switch {
	case a.Mode == "" || a.Mode == "complain":
		return nil
	case !a.Adapted && f.RunsChronyd:
		return []finding{{severityError, "apparmor", "chronyd's profile is in mode " + a.Mode + " and does not know clockarbiter's run directory: chronyd cannot start",
			"install deploy/apparmor/local-usr.sbin.chronyd as /etc/apparmor.d/local/usr.sbin.chronyd, then apparmor_parser -r /etc/apparmor.d/usr.sbin.chronyd"}}
	}
	return []finding{{severityInfo, "apparmor", "chronyd's profile is in mode " + a.Mode + ", adapted: " + yesNo(a.Adapted), ""}}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
