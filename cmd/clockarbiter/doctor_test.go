package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"gotest.tools/v3/golden"

	"clockarbiter/integration/frugal"
	"clockarbiter/supervisor/rivals"
)

var examined = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// sound is a host where nothing is to be mended.
func sound() facts {
	return facts{
		Now: examined, ConfigPath: "/etc/clockarbiter/clockarbiter.toml", Driver: "kernel", RunsChronyd: true,
		Supervisors: []int{400}, Rivals: []rivals.Suspect{{PID: 1, Name: "systemd", MayWrite: true, Weight: rivals.WeightRoot}},
		Units:       []unitFact{{Name: "chrony.service", Active: "inactive", Enabled: "disabled"}},
		Timedatectl: map[string]string{"NTP": "yes", "NTPSynchronized": "yes", "LocalRTC": "no"},
		Root:        true, MayWrite: true, Kernel: "synchronised, frequency -7.000 ppm, maximum error 20us, TAI - UTC 37 s",
		PHCs:        []phcFact{{Device: "/dev/ptp0", Name: "igc", Users: []string{"ptp4l (pid 402)", "clockarbiter (pid 400)"}}},
		Interfaces:  []interfaceFact{{Configured: true, Abilities: "eth0: hardware-transmit"}, {Problem: "ifb0: nothing"}},
		Leap:        leapFact{Path: "/usr/share/zoneinfo/leap-seconds.list", Expires: examined.Add(300 * 24 * time.Hour)},
		Clocksource: "tsc", Virtual: "none", AppArmor: apparmorFact{Mode: "enforce", Adapted: true},
		Needs: []string{"CAP_NET_ADMIN"}, OwnUnit: ownUnitFact{Loaded: true, User: "clockarbiter", Capabilities: []string{"CAP_SYS_TIME", "CAP_NET_ADMIN"}},
		BPF: bpfFact{BTF: true, Modules: "lockdown,capability,bpf"},
	}
}

// ill is a host where about everything is wrong.
func ill() facts {
	return facts{
		Now: examined, ConfigPath: "/etc/clockarbiter/clockarbiter.toml", Driver: "kernel", RunsChronyd: true,
		PlanProblems: []string{"chronyd: program chronyd is not there"}, Supervisors: []int{400, 500},
		Rivals: []rivals.Suspect{
			{PID: 300, Name: "chronyd", Unit: "chrony.service", MayWrite: true, Daemon: "chrony", Reason: "chrony, and holds CAP_SYS_TIME", Weight: rivals.WeightDaemon},
			{PID: 301, Name: "ntpd", Unit: "docker-0.scope", Container: "docker 0123456789ab", MayWrite: true, Daemon: "ntpd", Reason: "ntpd, and holds CAP_SYS_TIME", Weight: rivals.WeightDaemon},
			{PID: 302, Name: "phc2sys", MayWrite: true, Daemon: "phc2sys", Reason: "phc2sys, and holds CAP_SYS_TIME", Weight: rivals.WeightDaemon},
			{PID: 303, Name: "agent", Unit: "agent.service", MayWrite: true, Reason: "holds CAP_SYS_TIME among 2 capabilities", Weight: rivals.WeightChosen},
			{PID: 304, Name: "systemd-timesyn", Unit: "systemd-timesyncd.service", Daemon: "timesyncd", Reason: "timesyncd, without CAP_SYS_TIME", Weight: rivals.WeightPowerless},
		},
		Units:       []unitFact{{Name: "chrony.service", Active: "active", Enabled: "enabled"}, {Name: "ntpsec.service", Active: "inactive", Enabled: "enabled"}},
		Timedatectl: map[string]string{"LocalRTC": "yes"}, Root: true,
		PHCs:        []phcFact{{Device: "/dev/ptp0", Name: "igc", Users: []string{"ptp4l (pid 402)", "phc2sys (pid 302)"}}},
		Interfaces:  []interfaceFact{{Configured: true, Problem: "eth0: no hardware timestamps"}},
		Leap:        leapFact{Path: "/usr/share/zoneinfo/leap-seconds.list", Expires: examined.Add(-24 * time.Hour)},
		Clocksource: "hpet", Virtual: "kvm", AppArmor: apparmorFact{Mode: "enforce"},
		Needs: []string{"CAP_NET_RAW", "CAP_NET_ADMIN"}, OwnUnit: ownUnitFact{Loaded: true, User: "clockarbiter", Capabilities: []string{"CAP_SYS_TIME"}},
		BPF: bpfFact{BTF: true, Modules: "lockdown,capability", Trace: true, Enforce: true},
	}
}

// bare is a host that hardly lets itself be looked at.
func bare() facts {
	return facts{
		Now: examined, RivalsProblem: "permission denied", UnitsProblem: "systemd does not run here: units are not looked at",
		Leap: leapFact{Problem: "there is no leap-seconds.list"}, Timedatectl: map[string]string{"NTP": "yes"}, Virtual: "a hypervisor that is not known",
	}
}

func TestDoctorFindings(t *testing.T) {
	for name, f := range map[string]facts{"sound": sound(), "ill": ill(), "bare": bare()} {
		for suffix, show := range map[string]func(*bytes.Buffer, []finding) error{
			".txt":  func(b *bytes.Buffer, l []finding) error { return printFindings(b, l) },
			".json": func(b *bytes.Buffer, l []finding) error { return printFindingsJSON(b, l) },
		} {
			var out bytes.Buffer
			if err := show(&out, examine(f)); err != nil {
				t.Fatal(err)
			}
			golden.Assert(t, out.String(), "doctor-"+name+suffix)
		}
	}
}

func TestEveryFindingToMendSaysHow(t *testing.T) {
	for name, f := range map[string]facts{"sound": sound(), "ill": ill(), "bare": bare()} {
		for _, x := range examine(f) {
			if x.Severity == severityError && x.Remedy == "" {
				t.Errorf("%s: %s: %s: no remedy", name, x.Subject, x.Text)
			}
		}
	}
	if n := count(examine(sound()), severityError) + count(examine(sound()), severityWarning); n > 0 {
		t.Errorf("%d findings on a sound host", n)
	}
}

func TestParseUnits(t *testing.T) {
	const out = "Id=chrony.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n" +
		"Id=chrony.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n" +
		"Id=ntp.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n\n" +
		"Id=openntpd.service\nLoadState=masked\nActiveState=inactive\nUnitFileState=masked\n\n" +
		"Id=ptp4l@eth0.service\nLoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n"
	want := []unitFact{{"chrony.service", "active", "enabled"}, {"ptp4l@eth0.service", "inactive", "disabled"}}
	if diff := cmp.Diff(want, parseUnits([]byte(out))); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
}

func TestLeapTableOfTheHost(t *testing.T) {
	dir := t.TempDir()
	broken, absent := filepath.Join(dir, "broken"), filepath.Join(dir, "absent")
	if err := os.WriteFile(broken, []byte("#@ 3991593600\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{broken: broken + ": no line has its hash", absent: "no such file", "none": ""} {
		if l := leapTable(setting); (l.Problem == "") != (want == "") || !strings.Contains(l.Problem, want) {
			t.Errorf("%s: %+v, want %q", setting, l, want)
		}
	}
}

func TestLooksAtAHost(t *testing.T) {
	root := fstest.MapFS{
		"sys/class/ptp/ptp0/clock_name":         {Data: []byte("igc\n")},
		"sys/class/ptp/ptp1/clock_name":         {Data: []byte("KVM virtual PTP\n")},
		"proc/402/comm":                         {Data: []byte("ptp4l\n")},
		"proc/402/fd/3":                         {Data: []byte("/dev/ptp0"), Mode: os.ModeSymlink},
		"proc/402/fd/4":                         {Data: []byte("/dev/ptp0"), Mode: os.ModeSymlink},
		"proc/402/fd/5":                         {Data: []byte("/dev/null"), Mode: os.ModeSymlink},
		"proc/self/comm":                        {Data: []byte("x")},
		"sys/kernel/security/apparmor/profiles": {Data: []byte("man_filter (enforce)\n/usr/sbin/chronyd (complain)\n")},
		"etc/apparmor.d/local/usr.sbin.chronyd": {Data: []byte("/run/clockarbiter/chronyd/** rw,\n")},
	}
	want := []phcFact{{"/dev/ptp0", "igc", []string{"ptp4l (pid 402)"}}, {"/dev/ptp1", "KVM virtual PTP", nil}}
	if diff := cmp.Diff(want, phcs(root)); diff != "" {
		t.Errorf("PHCs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(apparmorFact{"complain", true}, apparmor(root)); diff != "" {
		t.Errorf("AppArmor (-want +got):\n%s", diff)
	}
	empty := fstest.MapFS{}
	if len(phcs(empty)) > 0 || apparmor(empty) != (apparmorFact{}) {
		t.Error("an empty host has PHCs or AppArmor")
	}
}

func TestVirtualisationOf(t *testing.T) {
	for _, c := range []struct{ vendor, cpuinfo, want string }{
		{"QEMU\n", "", "qemu"}, {"VMware, Inc.\n", "", "vmware"}, {"Dell Inc.\n", "flags\t: fpu tsc\n", "none"},
		{"", "flags\t: fpu hypervisor tsc\n", "a hypervisor that is not known"}, {"", "", "none"},
	} {
		if got := virtualisationOf(c.vendor, c.cpuinfo); got != c.want {
			t.Errorf("virtualisationOf(%q, %q) = %q, want %q", c.vendor, c.cpuinfo, got, c.want)
		}
	}
}

// TestDoctorCommand looks at the machine that it runs on; what it finds there is not judged.
func TestDoctorCommand(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.toml")
	if err := os.WriteFile(broken, []byte("[clock]\ndriver = \"nobody\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"--json=false", "--json"} {
		var out bytes.Buffer
		cmd := root()
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs([]string{"doctor", format, "-c", broken})
		err := cmd.ExecuteContext(context.Background())
		if err == nil || errors.Is(err, errUsage) || !strings.Contains(out.String(), "nobody") {
			t.Errorf("%s with a broken configuration: %v\n%s", format, err, out.String())
		}
	}
}

func FuzzParseUnits(f *testing.F) {
	f.Add([]byte("Id=chrony.service\nLoadState=loaded\n\nId=x\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		frugal.Parse(t, len(out), func() {
			for _, u := range parseUnits(out) {
				if u.Name == "" {
					t.Error("a unit without a name")
				}
			}
		})
	})
}

func TestTheDoctorReadsTheUnitAndTheKernel(t *testing.T) {
	for text, want := range map[string]ownUnitFact{
		"AmbientCapabilities=cap_sys_time cap_net_admin\nUser=clockarbiter\nLoadState=loaded\n": {Loaded: true, User: "clockarbiter", Capabilities: []string{"CAP_SYS_TIME", "CAP_NET_ADMIN"}},
		"AmbientCapabilities=\nUser=\nLoadState=not-found\n":                                    {},
	} {
		if diff := cmp.Diff(want, parseOwnUnit([]byte(text))); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
	root := fstest.MapFS{"sys/kernel/btf/vmlinux": {}, "sys/kernel/security/lsm": {Data: []byte("lockdown,bpf")}}
	if got := bpf(root); got != (bpfFact{BTF: true, Modules: "lockdown,bpf"}) {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		b    bpfFact
		want severity
		text string
	}{
		{bpfFact{}, severityInfo, "no BTF"}, {bpfFact{Trace: true}, severityError, "no BTF"},
		{bpfFact{BTF: true, Modules: "lockdown"}, severityInfo, "clock.enforce cannot"}, {bpfFact{BTF: true}, severityInfo, "not readable"},
		{bpfFact{BTF: true, Modules: "bpf", Enforce: true}, severityInfo, "can be had with"},
	} {
		got := bpfFindings(facts{BPF: c.b})
		if len(got) != 1 || got[0].Severity != c.want || !strings.Contains(got[0].Text, c.text) {
			t.Errorf("%+v: %+v", c.b, got)
		}
	}
}
