package process

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// statusOf returns the fields of /proc/PID/status that privileges show in.
func statusOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Uid", "Gid", "Groups":
			fields[name] = strings.Join(strings.Fields(value), " ")
		}
	}
	return fields
}

// privileges returns the fields of a process with exactly the given capabilities.
func privileges(uid, gid int, set uint64) map[string]string {
	mask := fmt.Sprintf("%016x", set)
	return map[string]string{
		"CapInh": mask, "CapPrm": mask, "CapEff": mask, "CapBnd": mask, "CapAmb": mask, "NoNewPrivs": "1",
		"Uid": fmt.Sprintf("%d %d %d %d", uid, uid, uid, uid), "Gid": fmt.Sprintf("%d %d %d %d", gid, gid, gid, gid), "Groups": "",
	}
}

func TestChildHoldsExactlyItsCapabilitiesAndNeverTheClock(t *testing.T) {
	needRoot(t)
	const nobody, nogroup = 65534, 65534
	for _, test := range []struct {
		rule         string
		credential   Credential
		capabilities []Capability
		want         map[string]string
	}{
		{"root without capabilities", Credential{User: "root"}, nil, privileges(0, 0, 0)},
		{"root with two", Credential{User: "root"}, []Capability{"CAP_NET_ADMIN", "CAP_NET_RAW"}, privileges(0, 0, 1<<12|1<<13)},
		{"nobody without capabilities", Credential{User: "nobody"}, nil, privileges(nobody, nogroup, 0)},
		{"nobody with a port", Credential{User: "nobody"}, []Capability{"CAP_NET_BIND_SERVICE"}, privileges(nobody, nogroup, 1<<10)},
		{"a user and a group by number", Credential{User: "65534", Group: "0"}, []Capability{"CAP_NET_RAW"}, privileges(nobody, 0, 1<<13)},
		{"a capability of the upper word", Credential{User: "nobody"}, []Capability{"CAP_BPF"}, privileges(nobody, nogroup, 1<<39)},
	} {
		spec := fakeSpec("child", "sleep")
		spec.Credential, spec.Capabilities = test.credential, test.capabilities
		tr := try(t, spec, patient())
		tr.awaitLine("ready")
		got := statusOf(t, tr.State().PID)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.rule, diff)
		}
	}
}

func TestSupervisorsOwnUserKeepsNoCapabilityEither(t *testing.T) {
	needRoot(t)
	tr := try(t, fakeSpec("child", "sleep"), patient())
	tr.awaitLine("ready")
	got := statusOf(t, tr.State().PID)
	want := privileges(unix.Getuid(), unix.Getgid(), 0)
	want["Groups"] = statusOf(t, os.Getpid())["Groups"]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChildInheritsNothingButItsThreeStreams(t *testing.T) {
	leaked, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(leaked) }()
	tr := try(t, fakeSpec("child", "status"), patient())
	tr.awaitLine("Fd2:")
	for _, line := range tr.State().LastLines {
		if strings.Contains(line, "passwd") || strings.Contains(line, "memfd") {
			t.Errorf("inherited: %s", line)
		}
		if strings.HasPrefix(line, "Fd0:") && !strings.Contains(line, os.DevNull) {
			t.Errorf("stdin is %s", line)
		}
	}
}

// superviseAs runs a supervising process as nobody and returns the first of its lines that has text.
func superviseAs(t *testing.T, text string, env ...string) string {
	t.Helper()
	cmd := exec.Command(self)
	cmd.Env = append(fakeEnv("supervise"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var lines []string
	for line := range lineReader(out) {
		lines = append(lines, line)
		if strings.Contains(line, text) {
			return line
		}
		if len(lines) == 20 {
			break
		}
	}
	t.Fatalf("no %q in %q", text, lines)
	return ""
}

func TestASupervisorWithoutPrivilegesDoesWhatItCan(t *testing.T) {
	needRoot(t)
	superviseAs(t, "one started as process")
	superviseAs(t, "one started as process", "CHILD_USER=nobody")
	superviseAs(t, "to run a child as user id 0 the supervisor needs [CAP_KILL CAP_SETGID CAP_SETUID], which it does not hold", "CHILD_USER=root")
	superviseAs(t, "the child needs [CAP_NET_RAW], which the supervisor does not hold", "CHILD_CAPABILITY=CAP_NET_RAW")
}

// TestAHardenedUnitNeedsTheseCapabilities runs a supervising process as a child of this one, that is with
// a bounding set as a hardened unit has it.
func TestAHardenedUnitNeedsTheseCapabilities(t *testing.T) {
	needRoot(t)
	for _, test := range []struct {
		lacks Capability
		want  string
	}{
		{"", "one started as process"},
		{"CAP_KILL", "as user id 65534 the supervisor needs [CAP_KILL]"},
		{"CAP_SETUID", "as user id 65534 the supervisor needs [CAP_SETUID]"},
		{"CAP_SETGID", "as user id 65534 the supervisor needs [CAP_SETGID]"},
		{"CAP_SETPCAP", "from the bounding set (the supervisor needs CAP_SETPCAP)"},
		{"CAP_NET_RAW", "the child needs [CAP_NET_RAW], which the supervisor does not hold"},
	} {
		spec := fakeSpec("unit", "supervise")
		spec.Env = append(spec.Env, "CHILD_USER=nobody", "CHILD_CAPABILITY=CAP_NET_RAW")
		spec.Credential.User = "root"
		for _, c := range []Capability{"CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_NET_RAW"} {
			if c != test.lacks {
				spec.Capabilities = append(spec.Capabilities, c)
			}
		}
		tr := try(t, spec, patient())
		eventually(t, 10*time.Second, "without "+string(test.lacks)+": "+test.want, func() bool {
			return strings.Contains(strings.Join(tr.State().LastLines, "\n"), test.want)
		})
		if err := tr.end(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryCapabilityOfTheKernelHasItsName(t *testing.T) {
	if len(capabilityNames) != unix.CAP_LAST_CAP+1 || slices.Contains(capabilityNames[:], "") {
		t.Errorf("names %q", capabilityNames)
	}
	want := []Capability{"CAP_CHOWN", "CAP_NET_RAW", "CAP_CHECKPOINT_RESTORE"}
	set, err := newCapabilitySet([]Capability{"CAP_CHECKPOINT_RESTORE", "CAP_NET_RAW", "CAP_CHOWN", "CAP_NET_RAW"})
	if err != nil || set != 1|1<<13|1<<40 {
		t.Errorf("set %x, %v", set, err)
	}
	if diff := cmp.Diff(want, set.names()); diff != "" {
		t.Error(diff)
	}
}
