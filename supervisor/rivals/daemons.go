package rivals

import (
	"path"
	"strings"
)

// daemons are the programs that set or steer a clock by trade, by the name of the executable. The
// value says what each is.
var daemons = map[string]string{
	"chronyd":                  "chrony, an NTP daemon",
	"ntpd":                     "ntpd, an NTP daemon",
	"ntpsec":                   "NTPsec, an NTP daemon",
	"ntp-daemon":               "ntpd-rs, an NTP daemon",
	"ntpd-rs":                  "ntpd-rs, an NTP daemon",
	"openntpd":                 "OpenNTPD, an NTP daemon",
	"systemd-timesyncd":        "systemd-timesyncd, an NTP client",
	"systemd-timedated":        "systemd-timedated, which sets the clock for timedatectl",
	"ptp4l":                    "ptp4l of linuxptp, which steers the system clock with software timestamps",
	"phc2sys":                  "phc2sys of linuxptp, which steers the system clock",
	"ts2phc":                   "ts2phc of linuxptp, which steers PHCs",
	"timemaster":               "timemaster of linuxptp, which starts chronyd, ptp4l and phc2sys",
	"sfptpd":                   "sfptpd, an NTP and PTP daemon",
	"ptpd":                     "ptpd, a PTP daemon",
	"ptpd2":                    "ptpd, a PTP daemon",
	"statime":                  "Statime, a PTP daemon",
	"timebeat":                 "Timebeat, an NTP and PTP daemon",
	"gpsd":                     "gpsd, which feeds NTP daemons",
	"VBoxService":              "VBoxService, VirtualBox's guest service, which sets the guest's time",
	"vmtoolsd":                 "vmtoolsd, VMware's guest service, which sets the guest's time where it is told to",
	"qemu-ga":                  "qemu-ga, QEMU's guest agent, which sets the time after a pause (guest-set-time)",
	"waagent":                  "waagent, Azure's guest agent",
	"prl_timesyncd":            "prl_timesyncd, Parallels' guest service",
	"google_clock_skew_daemon": "Google's clock skew daemon",
	"google_guest_agent":       "Google's guest agent, which sets the time after a migration",
	"hwclock":                  "hwclock, which sets the system clock from the hardware clock",
	"ntpdate":                  "ntpdate, which sets the clock once",
	"sntp":                     "sntp, which sets the clock once",
	"rdate":                    "rdate, which sets the clock once",
	"date":                     "date, which sets the clock with -s",
	"adjtimex":                 "adjtimex, which sets the kernel's clock parameters",
	"clockarbiter":             "clockarbiter, another instance",
}

// commLength is what the kernel keeps of a program's name (TASK_COMM_LEN - 1).
const commLength = 15

// daemonOf recognises a clock daemon by the kernel's name of the process and by its command line, which
// either may have changed. Interpreted daemons are recognised by their script.
func daemonOf(comm string, argv []string) string {
	names := []string{comm}
	for i, arg := range argv {
		if i == 2 {
			break
		}
		name, _, _ := strings.Cut(arg, " ") // ntpd and others write their state into argv
		names = append(names, path.Base(strings.TrimSuffix(name, ":")))
	}
	for _, n := range names {
		if what, ok := daemons[n]; ok {
			return what
		}
		if len(n) == commLength {
			if what := daemonOfPrefix(n); what != "" {
				return what
			}
		}
	}
	return ""
}

// daemonOfPrefix recognises a name that the kernel cut.
func daemonOfPrefix(comm string) string {
	for name, what := range daemons {
		if strings.HasPrefix(name, comm) && len(name) > commLength {
			return what
		}
	}
	return ""
}
