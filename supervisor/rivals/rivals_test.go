package rivals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/integration/frugal"
)

const (
	allCaps  = "000001ffffffffff"
	timeOnly = "0000000002000400" // CAP_SYS_TIME, CAP_NET_BIND_SERVICE
	noCaps   = "0000000000000000"
	hostMap  = "         0          0 4294967295\n"
	id       = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// proc is a /proc for a test.
type proc fstest.MapFS

func (p proc) add(pid, parent int, name, caps, command, cgroup, uidMap string) {
	dir := fmt.Sprint(pid) + "/"
	status := fmt.Sprintf("Name:\t%s\nUmask:\t0022\nPPid:\t%d\nNSpid:\t%d\nCapEff:\t%s\n", name, parent, pid, caps)
	for file, text := range map[string]string{"status": status, "cmdline": strings.ReplaceAll(command, " ", "\x00"), "cgroup": cgroup, "uid_map": uidMap} {
		p[dir+file] = &fstest.MapFile{Data: []byte(text)}
	}
}

func (p proc) scan(t *testing.T, self int) []Suspect {
	t.Helper()
	found, err := Scanner{Proc: fstest.MapFS(p), Owners: []int{self}}.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSuspectsAreRankedWithTheirReason(t *testing.T) {
	p := proc{"meminfo": &fstest.MapFile{}}
	p.add(1, 0, "systemd", allCaps, "/sbin/init", "0::/init.scope\n", hostMap)
	p.add(2, 0, "kthreadd", allCaps, "", "0::/\n", hostMap)
	p.add(300, 1, "chronyd", timeOnly, "/usr/sbin/chronyd -F 1", "0::/system.slice/chrony.service\n", hostMap)
	p.add(301, 1, "systemd-timesyn", noCaps, "/usr/lib/systemd/systemd-timesyncd", "0::/system.slice/systemd-timesyncd.service\n", hostMap)
	p.add(302, 1, "agent", timeOnly, "/opt/agent", "0::/system.slice/agent.service\n", hostMap)
	p.add(303, 1, "sh", allCaps, "sh -c x", "0::/system.slice/docker-"+id+".scope\n", hostMap)
	p.add(304, 1, "bash", noCaps, "bash", "0::/user.slice/user-1000.slice/session-3.scope\n", hostMap)
	p.add(305, 1, "rootless", allCaps, "rootless", "0::/user.slice\n", "0 100000 65536\n")
	p.add(400, 1, "clockarbiter", timeOnly, "clockarbiter run", "0::/system.slice/clockarbiter.service\n", hostMap)
	p.add(401, 400, "chronyd", noCaps, "chronyd -x", "0::/system.slice/clockarbiter.service\n", hostMap)
	p.add(402, 401, "chronyd", allCaps, "chronyd -x", "0::/system.slice/clockarbiter.service\n", hostMap)
	p["500/status"] = &fstest.MapFile{Data: []byte("Name:\tgone\n")}
	type row struct {
		PID             int
		Weight          int
		Unit, Container string
	}
	var got []row
	for _, s := range p.scan(t, 400) {
		if s.Reason == "" || s.Command == "" {
			t.Errorf("%s: reason %q, command %q", s, s.Reason, s.Command)
		}
		got = append(got, row{s.PID, s.Weight, s.Unit, s.Container})
	}
	want := []row{
		{300, WeightDaemon, "chrony.service", ""},
		{302, WeightChosen, "agent.service", ""},
		{303, WeightContainer, "docker-" + id + ".scope", "docker 0123456789ab"},
		{301, WeightPowerless, "systemd-timesyncd.service", ""},
		{1, WeightRoot, "init.scope", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("suspects differ (-want +got):\n%s", diff)
	}
}

func TestDaemonsAreKnownByTheirNameWhateverTheyDoToIt(t *testing.T) {
	for _, c := range []struct {
		comm string
		argv []string
		want bool
	}{
		{"chronyd", nil, true},
		{"systemd-timesyn", []string{"/lib/systemd/systemd-timesyncd"}, true},
		{"systemd-timesyn", nil, true},
		{"google_clock_sk", nil, true},
		{"main", []string{"/usr/sbin/chronyd", "-d"}, true},
		{"python3", []string{"/usr/bin/python3", "/usr/sbin/waagent", "-daemon"}, true},
		{"ntpd", []string{"ntpd: ntp engine"}, true},
		{"main", []string{"ntpd: ntp engine"}, true},
		{"bash", []string{"bash", "-c", "chronyd"}, false},
		{"systemd-timesxx", nil, false},
		{"vi", []string{"vi", "chronyd.c"}, false},
		{"", nil, false},
	} {
		if got := daemonOf(c.comm, c.argv) != ""; got != c.want {
			t.Errorf("daemonOf(%q, %q) = %v, want %v", c.comm, c.argv, got, c.want)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	for _, c := range []struct{ rule, in, unit, container string }{
		{"a service", "0::/system.slice/chrony.service\n", "chrony.service", ""},
		{"a part of a service", "0::/system.slice/chrony.service/inner\n", "chrony.service", ""},
		{"version 1", "12:cpu,cpuacct:/\n1:name=systemd:/system.slice/ntpd.service\n", "ntpd.service", ""},
		{"docker with systemd", "0::/system.slice/docker-" + id + ".scope\n", "docker-" + id + ".scope", "docker 0123456789ab"},
		{"docker with cgroupfs", "4:memory:/docker/" + id + "\n", "", "docker 0123456789ab"},
		{"kubernetes with containerd", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n", "cri-containerd-" + id + ".scope", "cri-containerd 0123456789ab"},
		{"cri-o", "0::/kubepods.slice/crio-" + id + ".scope/container\n", "crio-" + id + ".scope", "crio 0123456789ab"},
		{"podman", "0::/machine.slice/libpod-" + id + ".scope/container\n", "libpod-" + id + ".scope", "libpod 0123456789ab"},
		{"another container's path, seen from a container", "0::/../" + id + "\n", "", "container 0123456789ab"},
		{"lxc", "0::/lxc.payload.web/system.slice/chrony.service\n", "chrony.service", "lxc web"},
		{"nspawn", "0::/machine.slice/systemd-nspawn@guest.service/payload\n", "systemd-nspawn@guest.service", "nspawn guest"},
		{"nothing", "0::/\n", "", ""},
		{"garbage", "\x00\xff::\n:::::\nx", "", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			unit, container := parseCgroup([]byte(c.in))
			if unit != c.unit || container != c.container {
				t.Errorf("unit %q, container %q; want %q, %q", unit, container, c.unit, c.container)
			}
		})
	}
}

func TestParseStatusRefuses(t *testing.T) {
	for _, in := range []string{"", "Name:\tx\n", "Name:\tx\nPPid:\tone\nCapEff:\t0\n", "Name:\tx\nPPid:\t1\nCapEff:\tzz\n"} {
		if p, err := parseStatus([]byte(in)); !errors.Is(err, errNoStatus) {
			t.Errorf("parseStatus(%q) = %+v, %v", in, p, err)
		}
	}
}

func TestANameCannotInjectALine(t *testing.T) {
	p := proc{}
	p.add(7, 1, "a\\nb", timeOnly, "x\ny\x1b[2J", "0::/a\tb.service\n", hostMap)
	s := p.scan(t, 1000)
	if len(s) != 1 || strings.ContainsAny(s[0].String()+s[0].Command, "\n\t\x1b") {
		t.Errorf("suspects %q", s)
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := proc{}
	p.add(7, 1, "chronyd", timeOnly, "chronyd", "", hostMap)
	if _, err := (Scanner{Proc: fstest.MapFS(p), Owners: []int{1}}).Scan(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := (Scanner{Proc: os.DirFS("/nonexistent"), Owners: []int{1}}).Scan(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without /proc: %v", err)
	}
}

// TestScanOfThisHost runs as a descendant of pid 1, which holds every capability where the test is root.
func TestScanOfThisHost(t *testing.T) {
	s := NewScanner()
	start := time.Now()
	found, err := s.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range found {
		if slices.Contains(s.Owners, x.PID) {
			t.Error("suspects itself")
		}
	}
	t.Logf("%d suspects in %s: %v", len(found), time.Since(start), found)
}

func TestLookoutNeverBlocksWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scans := 0
		l := NewLookout(func(ctx context.Context) ([]Suspect, error) {
			scans++
			if scans == 1 {
				<-ctx.Done() // a /proc that does not answer
				return nil, ctx.Err()
			}
			return []Suspect{{PID: scans}}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.Run(ctx); close(done) }()
		for range 100 {
			l.Ask()
		}
		synctest.Wait()
		l.Ask()
		if r := <-l.C; !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("first result %+v, want a time-out", r)
		}
		if r := <-l.C; r.Err != nil || r.Suspects[0].PID != 2 {
			t.Errorf("second result %+v", r)
		}
		l.Ask()
		synctest.Wait()
		l.Ask()
		synctest.Wait()
		if r := <-l.C; r.Suspects[0].PID != 4 {
			t.Errorf("an older result is kept: %+v", r)
		}
		cancel()
		<-done
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("Name:\tchronyd\nPPid:\t1\nNSpid:\t7\t1\nCapEff:\t0000000002000400\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		frugal.Parse(t, len(in), func() {
			if p, err := parseStatus(in); err == nil {
				judge(p)
			}
		})
	})
}

func FuzzParseCgroup(f *testing.F) {
	f.Add([]byte("0::/system.slice/docker-" + id + ".scope\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		frugal.Parse(t, len(in), func() {
			unit, container := parseCgroup(in)
			if strings.ContainsAny(unit+container, "\n\x00") {
				t.Errorf("unit %q, container %q", unit, container)
			}
		})
	})
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte("/usr/sbin/chronyd\x00-F\x001\x00"), []byte(hostMap))
	f.Fuzz(func(t *testing.T, command, uidMap []byte) {
		frugal.Parse(t, len(command)+len(uidMap), func() {
			argv := parseCommand(command)
			daemonOf("x", argv)
			parseMapped(uidMap)
			if strings.Contains(strings.Join(argv, " "), "\n") {
				t.Errorf("argv %q", argv)
			}
		})
	})
}
