// Package systemd_test holds the units to what systemd itself says of them.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// exposureLimit is what `systemd-analyze security` may say.
var exposureLimit = map[string]float64{"clockarbiter.service": 2.5, "clockarbiter-wait-sync.service": 0.5}

// withDropIns is what it may say of the unit with drop-ins: hardware timestamps take the network's
// administration and devices.
var withDropIns = []struct {
	names []string
	limit float64
}{{[]string{"ptp"}, 3.2}, {[]string{"bpf"}, 2.5}, {[]string{"ptp", "bpf"}, 3.2}}

// installed copies the units to where systemd finds them all, with a program that exists.
func installed(t *testing.T) []string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: it belongs to the package systemd")
	}
	dir := t.TempDir()
	var paths []string
	for unit := range exposureLimit {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, unit)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/usr/bin/clockarbiter", "/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestUnitsAreUnderstood(t *testing.T) {
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, installed(t)...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "clockarbiter") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestUnitsExposeNoMoreThanTheyMust(t *testing.T) {
	for _, path := range installed(t) {
		exposed(t, path, exposureLimit[filepath.Base(path)])
		if filepath.Base(path) != "clockarbiter.service" {
			continue
		}
		unit, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range withDropIns {
			text := string(unit)
			for _, name := range d.names { // as systemd reads them: after the unit
				dropIn, err := os.ReadFile("clockarbiter.service.d/" + name + ".conf")
				if err != nil {
					t.Fatal(err)
				}
				text += string(dropIn)
			}
			both := filepath.Join(t.TempDir(), "clockarbiter.service")
			if err := os.WriteFile(both, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			exposed(t, both, d.limit)
		}
	}
}

// exposed asks systemd-analyze.
func exposed(t *testing.T, path string, limit float64) {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", path).CombinedOutput()
	m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	got, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil || got > limit {
		t.Errorf("%s: exposure %v, at most %v\n%s", path, got, limit, out)
	}
	t.Logf("%s: %v", path, got)
}

// The capabilities that package process documents as the supervisor's own need, and no CAP_SYS_TIME in
// any filter that would take it away.
func TestTheUnitGrantsWhatTheSupervisorNeeds(t *testing.T) {
	text, err := os.ReadFile("clockarbiter.service")
	if err != nil {
		t.Fatal(err)
	}
	const needed = "CAP_SYS_TIME CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL"
	for _, want := range []string{
		"\nUser=clockarbiter\n", "\nCapabilityBoundingSet=" + needed + "\n", "\nAmbientCapabilities=" + needed + "\n", "@clock", "AF_NETLINK",
		"-o clockarbiter-ntp ", "\nDelegate=memory pids\n", "ExecReload=/usr/bin/clockarbiter reload", "Type=notify", "Before=time-sync.target",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	for _, harmful := range []string{"\nProtectClock=yes", "\nPrivateUsers=yes", "\nPrivateNetwork=yes", "\nProtectProc=invisible"} {
		if strings.Contains(string(text), harmful) {
			t.Errorf("the unit has%s, with which nothing works", harmful)
		}
	}
}
