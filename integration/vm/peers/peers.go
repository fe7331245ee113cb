package peers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/vm"
)

// Peer is a way to keep a host's clock.
type Peer struct {
	Name string
	// About is the line of the report on its configuration.
	About string
	// units are started together and are what its resources are counted of.
	units []string
	// programs print their versions, a command each.
	programs []string
	install  func(t testing.TB, g *vm.Guest)
}

// The names of those that the ratios are about.
const (
	Clockarbiter = "clockarbiter"
	Timemaster   = "timemaster"
	PHC2Sys      = "ptp4l + phc2sys"
	Chronyd      = "chronyd + PHC"
	Accident     = "all at once"
	Nobody       = "nobody"
)

const (
	iface  = "enp4s0" // the host's end of gmB's wire
	phc    = "/dev/ptp3"
	domain = 24
)

// Peers are those of the table. What distinguishes their variants is in variants.go.
func Peers() []Peer {
	return []Peer{
		clockarbiter(),
		timemaster(Timemaster, timemasterVariants()[0]),
		phc2sys(PHC2Sys, phc2sysVariants()[0]),
		chronyd(Chronyd, chronydVariants()[0]),
		accident(),
	}
}

// The NTP servers as every peer is given them: near, so polled as often as timemaster's manual does.
const ntpServers = 3

// perServer repeats a line or section for each NTP server, whose address replaces %s.
func perServer(format string) string {
	var b strings.Builder
	for n := range ntpServers {
		fmt.Fprintf(&b, format, fmt.Sprintf("10.8.0.%d", n+1))
	}
	return b.String()
}

// clockarbiter is configured as in the README's first configuration.
func clockarbiter() Peer {
	toml := fmt.Sprintf("[[ptp.interface]]\nname = %q\ndomain = %d\nprefer = true\n", iface, domain) +
		perServer("[[ntp.server]]\naddress = %q\niburst = true\nminpoll = 4\nmaxpoll = 4\n")
	return Peer{
		Name:     Clockarbiter,
		About:    "the packaged unit; defaults, the interface preferred",
		units:    []string{"clockarbiter.service"},
		programs: []string{"clockarbiter --version"},
		install:  func(t testing.TB, g *vm.Guest) { vm.Install(t, g, toml) },
	}
}

// timemaster with its own defaults but for the passage that a variant adds to the domain's section.
func timemaster(name string, v variant) Peer {
	conf := perServer("[ntp_server %s]\nminpoll 4\nmaxpoll 4\niburst 1\n\n") +
		fmt.Sprintf("[ptp_domain %d]\ninterfaces %s\n%s\n", domain, iface, v.lines) +
		"[timemaster]\nntp_program chronyd\n\n[ptp4l.conf]\n" + slowCard + "\n[chrony.conf]\n" + stepping
	return Peer{
		Name:     name,
		About:    "Debian's unit; chronyd, ptp4l and phc2sys as it configures them; " + v.name,
		units:    []string{"timemaster.service"},
		programs: []string{"timemaster -v", "chronyd -v"},
		install: func(t testing.TB, g *vm.Guest) {
			g.Put(t, "/etc/linuxptp/timemaster.conf", 0o644, []byte(conf))
		},
	}
}

// stepping is Debian's and Fedora's line in chrony.conf.
const stepping = "makestep 1 3\n"

// slowCard: the emulated card takes its time to hand out a transmit timestamp. It changes none.
const slowCard = "tx_timestamp_timeout 50\n"

// ptp4lConf is a client of the grandmaster, otherwise ptp4l's defaults.
var ptp4lConf = fmt.Sprintf("[global]\nclientOnly 1\ndomainNumber %d\nnetwork_transport UDPv4\n", domain) + slowCard

func installPTP4L(t testing.TB, g *vm.Guest) {
	t.Helper()
	g.Put(t, "/etc/linuxptp/ptp4l.conf", 0o644, []byte(ptp4lConf))
}

func phc2sys(name string, v variant) Peer {
	return Peer{
		Name:     name,
		About:    "Debian's units ptp4l@ and phc2sys@; " + v.name,
		units:    []string{"ptp4l@" + iface + ".service", "phc2sys@" + iface + ".service"},
		programs: []string{"ptp4l -v"},
		install: func(t testing.TB, g *vm.Guest) {
			installPTP4L(t, g)
			installPHC2Sys(t, g, v)
		},
	}
}

// phc2sysUnit is Debian's unit, which requires a unit ptp4l.service that no package has, with that mended, and
// with the domain, by which phc2sys finds ptp4l's settings.
const phc2sysUnit = `[Unit]
Requires=ptp4l@%%i.service
After=ptp4l@%%i.service
Before=time-sync.target

[Service]
Type=simple
ExecStart=/usr/sbin/phc2sys -w -s %%I -n %d %s
`

func installPHC2Sys(t testing.TB, g *vm.Guest, v variant) {
	t.Helper()
	g.Put(t, "/etc/systemd/system/phc2sys@.service", 0o644, fmt.Appendf(nil, phc2sysUnit, domain, v.lines))
	g.Run(t, "systemctl daemon-reload")
}

// chronyConf is Debian's chrony.conf with these servers in place of its pool.
func chronyConf(refclock string) string {
	return perServer("server %s iburst minpoll 4 maxpoll 4\n") + refclock +
		"driftfile /var/lib/chrony/chrony.drift\nlogdir /var/log/chrony\nmaxupdateskew 100.0\nrtcsync\n" + stepping
}

func chronyd(name string, v variant) Peer {
	return Peer{
		Name:     name,
		About:    "Debian's units chrony and ptp4l@; `" + v.lines + "`",
		units:    []string{"ptp4l@" + iface + ".service", "chrony.service"},
		programs: []string{"chronyd -v", "ptp4l -v"},
		install: func(t testing.TB, g *vm.Guest) {
			installPTP4L(t, g)
			g.Put(t, "/etc/chrony/chrony.conf", 0o644, []byte(chronyConf(fmt.Sprintf("refclock PHC %s %s\n", phc, v.lines))))
		},
	}
}

// accident is what is found on hosts where two teams solved the same problem.
func accident() Peer {
	return Peer{
		Name:     Accident,
		About:    "Debian's units ptp4l@, phc2sys@ and chrony, the last with the NTP servers alone",
		units:    []string{"ptp4l@" + iface + ".service", "phc2sys@" + iface + ".service", "chrony.service"},
		programs: []string{"chronyd -v", "ptp4l -v"},
		install: func(t testing.TB, g *vm.Guest) {
			installPTP4L(t, g)
			installPHC2Sys(t, g, phc2sysVariants()[0])
			g.Put(t, "/etc/chrony/chrony.conf", 0o644, []byte(chronyConf("")))
		},
	}
}

// nobody leaves the clock to itself: the noise floor.
func nobody() Peer {
	return Peer{Name: Nobody, install: func(testing.TB, *vm.Guest) {}}
}

// FloorRun is the peer and the scenario that show the noise floor.
func FloorRun() (Peer, Scenario) {
	return nobody(), Scenario{Name: AtRest, Settle: 10 * time.Second, Locked: time.Minute}
}

// start starts all units of the peer at once.
func (p Peer) start(t testing.TB, g *vm.Guest) {
	t.Helper()
	if len(p.units) == 0 {
		return
	}
	g.Run(t, "systemctl start --no-block "+strings.Join(p.units, " "))
}

// began is when systemd began to start the first of the units, on the guest's monotonic clock.
func (p Peer) began(t testing.TB, g *vm.Guest) time.Duration {
	t.Helper()
	var first time.Duration
	for _, u := range p.units {
		us := strings.TrimSpace(g.Run(t, "systemctl show -P InactiveExitTimestampMonotonic "+u))
		at, err := time.ParseDuration(us + "us")
		if err != nil {
			t.Fatalf("%s: start of %s: %v", p.Name, u, err)
		}
		if first == 0 || at < first {
			first = at
		}
	}
	return first
}

// running fails the test where a unit does not run.
func (p Peer) running(t testing.TB, g *vm.Guest) {
	t.Helper()
	for _, u := range p.units {
		if state := strings.TrimSpace(g.Run(t, "systemctl is-active "+u+" || true")); state != "active" {
			t.Errorf("%s: %s is %s\n%s", p.Name, u, state, g.Run(t, "journalctl --no-pager -n 40 -u "+u))
		}
	}
}

// versions is what the programs call themselves.
func (p Peer) versions(t testing.TB, g *vm.Guest) string {
	t.Helper()
	var list []string
	for _, command := range p.programs {
		line, _, _ := strings.Cut(strings.TrimSpace(g.Run(t, command+" 2>&1 || true")), "\n")
		list = append(list, strings.Fields(command)[0]+" "+version(line))
	}
	return strings.Join(list, ", ")
}

// version is the first word of a line that begins with a digit, else its last word.
func version(line string) string {
	last := ""
	for _, w := range strings.Fields(line) {
		if last = w; w[0] >= '0' && w[0] <= '9' {
			break
		}
	}
	return last
}

// usage is what the units have used since they were started.
type usage struct {
	CPU    time.Duration // user and system
	Memory int           // bytes: the sum of the peaks of the resident sets of all processes that run
}

// used reads it from the control groups.
func (p Peer) used(t testing.TB, g *vm.Guest) usage {
	t.Helper()
	out := g.Run(t, `cpu=0; memory=0
for unit in `+strings.Join(p.units, " ")+`; do
	group=/sys/fs/cgroup$(systemctl show --value -p ControlGroup $unit)
	cpu=$((cpu + $(sed -n 's/^usage_usec //p' $group/cpu.stat)))
	for pid in $(find $group -name cgroup.procs -exec cat {} +); do
		peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$pid/status || true)
		memory=$((memory + ${peak:-0}))
	done
done
echo $cpu $memory`)
	var us, kib int
	if _, err := fmt.Sscan(out, &us, &kib); err != nil {
		t.Fatalf("resources of %s: %q: %v", p.Name, out, err)
	}
	return usage{time.Duration(us) * time.Microsecond, kib * 1024}
}
