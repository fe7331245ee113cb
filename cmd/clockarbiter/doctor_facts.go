package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/clock"
	"clockarbiter/configs"
	"clockarbiter/ptp"
	"clockarbiter/supervisor"
	"clockarbiter/supervisor/leapseconds"
	"clockarbiter/supervisor/rivals"
)

// facts is what the doctor saw of the host. A Problem says why something could not be seen.
type facts struct {
	Now time.Time

	// ConfigPath is empty where there is no configuration and none was asked for.
	ConfigPath, ConfigProblem string
	Driver                    string
	RunsChronyd               bool
	PlanProblems              []string
	// Needs are the capabilities of the configured engines.
	Needs []string

	OwnUnit ownUnitFact
	BPF     bpfFact

	Supervisors   []int
	Rivals        []rivals.Suspect
	RivalsProblem string
	Units         []unitFact
	UnitsProblem  string
	Timedatectl   map[string]string

	Root, MayWrite bool
	Kernel         string
	PHCs           []phcFact
	Interfaces     []interfaceFact
	Leap           leapFact
	Clocksource    string
	Virtual        string
	AppArmor       apparmorFact
}

type unitFact struct{ Name, Active, Enabled string }

type phcFact struct {
	Device, Name string
	Users        []string
}

type interfaceFact struct {
	Abilities, Problem string
	Configured         bool
}

type leapFact struct {
	Path, Problem string
	Expires       time.Time
}

// apparmorFact is the profile of chronyd: its mode, empty where there is none, and whether the local
// addition names clockarbiter.
type apparmorFact struct {
	Mode    string
	Adapted bool
}

const (
	// lookTimeout bounds each look at the host, maxFile what is read of a file.
	lookTimeout = 5 * time.Second
	maxFile     = 1 << 20
)

// gather looks at the host. It changes nothing.
func gather(ctx context.Context, path string, asked bool) facts {
	f := facts{Now: time.Now(), Root: os.Geteuid() == 0, MayWrite: maySetTime(), BPF: bpf(os.DirFS("/"))}
	cfg := f.configuration(ctx, path, asked)
	f.rivals(ctx)
	f.units(ctx)
	f.Kernel = kernelState()
	f.PHCs = phcs(os.DirFS("/"))
	f.interfaces(cfg)
	f.Leap = leapTable(cfg.Arbiter.LeapTable)
	f.Clocksource = strings.TrimSpace(readFile(os.DirFS("/"), "sys/devices/system/clocksource/clocksource0/current_clocksource"))
	f.Virtual = virtualisation(ctx)
	f.AppArmor = apparmor(os.DirFS("/"))
	return f
}

func (f *facts) configuration(ctx context.Context, path string, asked bool) *configs.Config {
	cfg, err := configs.Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return &configs.Config{}
	case err != nil:
		f.ConfigPath, f.ConfigProblem = path, err.Error()
		return &configs.Config{}
	}
	f.ConfigPath, f.Driver, f.RunsChronyd = path, cfg.Clock.Driver, len(cfg.NTP.Servers) > 0
	f.BPF.Trace, f.BPF.Enforce = cfg.Clock.Trace, cfg.Clock.Enforce
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	for _, c := range supervisor.NewPlan(cfg, supervisor.Probe(ctx, cfg)).Children {
		if c.Problem != "" {
			f.PlanProblems = append(f.PlanProblems, c.Name+": "+c.Problem)
		}
		f.Needs = append(f.Needs, c.Capabilities...)
	}
	return cfg
}

// rivals looks twice: first for supervisors, whose children are no rivals.
func (f *facts) rivals(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s := rivals.NewScanner()
	found, err := s.Scan(ctx)
	for _, x := range found {
		if x.Name == "clockarbiter" && slices.Contains(strings.Fields(x.Command), "run") {
			f.Supervisors = append(f.Supervisors, x.PID)
		}
	}
	if err == nil && len(f.Supervisors) > 0 {
		s.Owners = append(s.Owners, f.Supervisors...)
		found, err = s.Scan(ctx)
	}
	if err != nil {
		f.RivalsProblem = err.Error()
	}
	f.Rivals = found
}

// rivalUnits are the units of other clock daemons. chrony-wait and the like set nothing.
var rivalUnits = []string{
	"chrony.service", "chronyd.service", "ntp.service", "ntpd.service", "ntpsec.service", "openntpd.service", "ntpd-rs.service",
	"systemd-timesyncd.service", "ptp4l.service", "phc2sys.service", "ts2phc.service", "timemaster.service", "sfptpd.service",
	"ptp4l@*.service", "phc2sys@*.service", "ntpdate.service", "ntpdig.service", "statime.service", "timebeat.service", "vboxadd-service.service",
}

func (f *facts) units(ctx context.Context) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		f.UnitsProblem = "systemd does not run here: units are not looked at"
		return
	}
	out, err := run(ctx, append([]string{"systemctl", "show", "--property=Id,ActiveState,UnitFileState,LoadState"}, rivalUnits...)...)
	if err != nil {
		f.UnitsProblem = "units not looked at: " + err.Error()
		return
	}
	f.Units = parseUnits(out)
	f.OwnUnit = ownUnit(ctx)
	if out, err := run(ctx, "timedatectl", "show"); err == nil {
		f.Timedatectl = parseProperties(out)
	}
}

// run is the output of a program that is asked one thing.
func run(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w", argv[0], err)
	}
	return out[:min(len(out), maxFile)], nil
}

// parseProperties reads the key=value lines of systemctl show and timedatectl show.
func parseProperties(out []byte) map[string]string {
	props := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			props[key] = value
		}
	}
	return props
}

// parseUnits reads systemctl show of several units, which are parted by empty lines.
func parseUnits(out []byte) []unitFact {
	var units []unitFact
	for block := range bytes.SplitSeq(out, []byte("\n\n")) {
		p := parseProperties(block)
		if p["Id"] == "" || p["LoadState"] == "not-found" || p["LoadState"] == "masked" {
			continue
		}
		u := unitFact{Name: p["Id"], Active: p["ActiveState"], Enabled: p["UnitFileState"]}
		if !slices.Contains(units, u) { // an alias is the same unit again
			units = append(units, u)
		}
	}
	return units
}

// maySetTime reports whether CAP_SYS_TIME is effective here.
func maySetTime() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_TIME) != 0
}

// kernelState is the kernel's clock in words. It is read without a privilege.
func kernelState() string {
	h, err := clock.NewHost()
	if err != nil {
		return ""
	}
	r, err := clock.NewObserver(h).Read()
	if err != nil {
		return ""
	}
	state := "unsynchronised"
	if r.Synchronised {
		state = "synchronised"
	}
	return fmt.Sprintf("%s, frequency %+.3f ppm, maximum error %s, TAI - UTC %d s", state, r.FreqPPB/1000, r.MaxError, r.TAIOffset)
}

func readFile(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return ""
	}
	return string(text)
}

// phcs lists the PTP hardware clocks and the processes that have them open.
func phcs(root fs.FS) []phcFact {
	entries, err := fs.ReadDir(root, "sys/class/ptp")
	if err != nil {
		return nil
	}
	users := deviceUsers(root)
	var list []phcFact
	for _, e := range entries {
		device := "/dev/" + e.Name()
		list = append(list, phcFact{
			Device: device, Name: strings.TrimSpace(readFile(root, "sys/class/ptp/"+e.Name()+"/clock_name")), Users: users[device],
		})
	}
	return list
}

// deviceUsers maps each PHC to the processes with a descriptor of it.
func deviceUsers(root fs.FS) map[string][]string {
	users := map[string][]string{}
	procs, err := fs.ReadDir(root, "proc")
	if err != nil {
		return users
	}
	for _, p := range procs {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		dir := "proc/" + p.Name()
		fds, err := fs.ReadDir(root, dir+"/fd")
		if err != nil {
			continue // gone, or not ours to look at
		}
		for _, fd := range fds {
			target, err := fs.ReadLink(root, dir+"/fd/"+fd.Name())
			if err != nil || !strings.HasPrefix(target, "/dev/ptp") {
				continue
			}
			user := fmt.Sprintf("%s (pid %s)", strings.TrimSpace(readFile(root, dir+"/comm")), p.Name())
			if !slices.Contains(users[target], user) {
				users[target] = append(users[target], user)
			}
		}
	}
	return users
}

func (f *facts) interfaces(cfg *configs.Config) {
	wanted := map[string]string{}
	for _, i := range cfg.PTP.Interfaces {
		wanted[i.Name] = i.Timestamping
	}
	names := make([]string, 0, len(wanted))
	for n := range wanted {
		names = append(names, n)
	}
	if all, err := net.Interfaces(); err == nil {
		for _, i := range all {
			if i.Flags&net.FlagLoopback == 0 && !slices.Contains(names, i.Name) {
				names = append(names, i.Name)
			}
		}
	}
	slices.Sort(names)
	for _, n := range names {
		timestamping, configured := wanted[n]
		f.Interfaces = append(f.Interfaces, lookAtInterface(n, timestamping, configured))
	}
}

func lookAtInterface(name, timestamping string, configured bool) interfaceFact {
	i := interfaceFact{Configured: configured}
	caps, err := ptp.Probe(name)
	if err != nil {
		i.Problem = err.Error()
		return i
	}
	mode, reason, err := ptp.ChooseMode(timestamping, caps)
	if err != nil {
		i.Problem = err.Error()
		return i
	}
	i.Abilities = fmt.Sprintf("%s; PTP would use %s timestamps: %s", caps, mode, reason)
	return i
}

// leapTable is the leap second table that a setting names, the usual one where there is no setting.
func leapTable(setting string) leapFact {
	if setting == "" {
		setting = leapseconds.Auto
	}
	t := leapseconds.Read(setting)
	f := leapFact{Path: t.Path, Problem: t.Problem}
	switch {
	case t.Problem != "" && t.Path != "":
		f.Problem = t.Path + ": " + t.Problem
	case t.Problem == "" && t.Path != "":
		f.Expires = t.Expires.Near().UTC()
	}
	return f
}

// virtualisation is systemd-detect-virt's word, or a guess from firmware and processor.
func virtualisation(ctx context.Context) string {
	if path, err := exec.LookPath("systemd-detect-virt"); err == nil {
		out, _ := run(ctx, path) // it exits with 1 where it says "none"
		if word := strings.TrimSpace(string(out)); word != "" {
			return word
		}
	}
	return virtualisationOf(readFile(os.DirFS("/"), "sys/class/dmi/id/sys_vendor"), readFile(os.DirFS("/"), "proc/cpuinfo"))
}

func virtualisationOf(vendor, cpuinfo string) string {
	for part, word := range map[string]string{"QEMU": "qemu", "VMware": "vmware", "innotek": "oracle", "Microsoft": "microsoft", "Amazon EC2": "amazon"} {
		if strings.Contains(vendor, part) {
			return word
		}
	}
	for line := range strings.Lines(cpuinfo) {
		if key, flags, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "flags" {
			if slices.Contains(strings.Fields(flags), "hypervisor") {
				return "a hypervisor that is not known"
			}
			break
		}
	}
	return "none"
}

// apparmor reads the mode of chronyd's profile and whether its local addition names clockarbiter.
func apparmor(root fs.FS) apparmorFact {
	var a apparmorFact
	for line := range strings.Lines(readFile(root, "sys/kernel/security/apparmor/profiles")) {
		name, mode, ok := strings.Cut(strings.TrimSpace(line), " (")
		if ok && (name == "chronyd" || filepath.Base(name) == "chronyd") {
			a.Mode = strings.TrimSuffix(mode, ")")
		}
	}
	a.Adapted = strings.Contains(readFile(root, "etc/apparmor.d/local/usr.sbin.chronyd"), "clockarbiter")
	return a
}
