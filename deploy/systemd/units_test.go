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

// exposureLimit is what `systemd-analyze security` may say. The supervisor cannot get below 3.4 whatever
// its user: it and its children need the host's network, the clock, and several users.
var exposureLimit = map[string]float64{"clockarbiter.service": 3.8, "clockarbiter-wait-sync.service": 0.5}

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
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", path).CombinedOutput()
		m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("systemd-analyze security: %v\n%s", err, out)
		}
		got, err := strconv.ParseFloat(string(m[1]), 64)
		if limit := exposureLimit[filepath.Base(path)]; err != nil || got > limit {
			t.Errorf("%s: exposure %v, at most %v\n%s", filepath.Base(path), got, limit, out)
		}
	}
}

// The capabilities that package process documents as the supervisor's own need, and no CAP_SYS_TIME in
// any filter that would take it away.
func TestTheUnitGrantsWhatTheSupervisorNeeds(t *testing.T) {
	text, err := os.ReadFile("clockarbiter.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"CAP_SYS_TIME", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL", "CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE",
		"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_NET_ADMIN", "@clock", "char-ptp rw", "AF_NETLINK", "AF_PACKET",
		"ExecReload=/usr/bin/clockarbiter reload", "Type=notify", "Before=time-sync.target",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	for _, harmful := range []string{"\nProtectClock=yes", "\nPrivateUsers=yes", "\nPrivateNetwork=yes", "\nPrivateDevices=yes"} {
		if strings.Contains(string(text), harmful) {
			t.Errorf("the unit has%s, with which nothing works", harmful)
		}
	}
}
