package vm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/vm"
	"clockarbiter/supervisor"
	"clockarbiter/supervisor/tracer"
)

// putTest builds the tests of a package and copies them into the guest.
func putTest(t *testing.T, g *vm.Guest, path, pkg string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "test")
	cmd := exec.Command("go", "test", "-c", "-o", to, pkg)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of %s: %v\n%s", pkg, err, out)
	}
	g.PutFile(t, path, 0o755, to)
}

// TestPrograms: this kernel's verifier takes the programs.
func TestPrograms(t *testing.T) {
	g := vm.Start(t, vm.Virtual)
	putTest(t, g, "/tmp/tracer.test", "clockarbiter/supervisor/tracer")
	out := g.Run(t, "/tmp/tracer.test -test.v -test.run Verifier 2>&1")
	if !strings.Contains(out, "--- PASS: TestProgramsPassTheVerifier") {
		t.Error(out)
	}
}

// traced is a configuration whose calls are traced, and with enforce refused to others.
func traced(enforce bool) string {
	toml := "[clock]\ntrace = true\nforeign_attempts = 100\n"
	if enforce {
		toml += "enforce = true\n"
	}
	return toml + threeNTP
}

// withBPF is a host with the drop-in for BPF, locked to NTP.
func withBPF(t *testing.T, toml string) (*vm.Guest, vm.World, vm.Host) {
	t.Helper()
	g := vm.Start(t, vm.Virtual)
	w := vm.NewWorld(t, g, ordinary)
	dropIn, err := os.ReadFile("../../deploy/systemd/clockarbiter.service.d/bpf.conf")
	if err != nil {
		t.Fatal(err)
	}
	h := vm.Install(t, g, toml)
	g.Put(t, "/etc/systemd/system/clockarbiter.service.d/bpf.conf", 0o644, dropIn)
	g.Run(t, "systemctl daemon-reload")
	h.Start(t)
	h.Await(t, "locked", 2*time.Minute, vm.Locked)
	return g, w, h
}

func tracerState(st supervisor.Status) tracer.State { return st.Ownership.Tracer.Or(tracer.State{}) }

// named returns the newest entry of a kind by this caller.
func caller(t *testing.T, h vm.Host, kind supervisor.MessageID, caller string) vm.Entry {
	t.Helper()
	entries := h.Journal(t, kind)
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i]["CALLER"] == caller {
			return entries[i]
		}
	}
	t.Fatalf("no entry %s by %s in %v\n%s", kind, caller, entries, h.Tail(t))
	return nil
}

// In a unit of its own; in what a container engine makes of a process: namespaces of its own and a cgroup
// with the engine's name.
const container = "docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope"

// TestCallersAreNamed: whoever writes to the clock is named by the kernel, though it ends at once.
func TestCallersAreNamed(t *testing.T) {
	g, _, h := withBPF(t, traced(false))
	h.Await(t, "tracing", 30*time.Second, func(st supervisor.Status) bool { return tracerState(st).Tracing })
	for _, c := range []struct {
		name, do, caller, command, call, what, unit, container string
	}{
		{"a step by a unit", `systemd-run --unit=stranger --collect --wait date -s "$(date -d '+2 seconds' '+%F %T')"`,
			"date", "date -s", "set the clock to 2026-06-01T12:", "step", "stranger.service", ""},
		{"a frequency in a container", "systemd-run --scope --unit=" + container + " unshare --pid --fork --mount-proc adjtimex --frequency 6553600",
			"adjtimex", "adjtimex --frequency 6553600", "frequency +100.000 ppm", "frequency", container, "docker 0123456789ab"},
		{"a slew by a daemon that goes on", "systemd-run --unit=rival --collect chronyd -d 'server 10.8.0.1 minpoll 0 maxpoll 0 iburst' 'makestep 0 0'; sleep 20; systemctl stop rival",
			"chronyd", "chronyd -d", "adjtime of +0 us", "frequency", "rival.service", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.Run(t, c.do)
			g.Sleep(t, 5*time.Second)
			call := caller(t, h, supervisor.MessageCall, c.caller)
			t.Log(call["MESSAGE"])
			for field, want := range map[string]string{"CALLER_COMMAND": c.command, "CALL": c.call, "CALLER_UNIT": c.unit, "CONTAINER": c.container} {
				if got := call[field]; !strings.Contains(got, want) || want == "" && got != "" {
					t.Errorf("%s = %q, want %q", field, got, want)
				}
			}
			if pid, err := strconv.Atoi(call["CALLER_PID"]); err != nil || pid < 2 {
				t.Errorf("CALLER_PID = %q", call["CALLER_PID"])
			}
			if c.what == "" {
				return
			}
			write := caller(t, h, supervisor.MessageForeignWrite, c.caller)
			t.Log(write["MESSAGE"])
			if write["WHAT"] != c.what || write["CALLER_PID"] != call["CALLER_PID"] || write["CALLER_UNIT"] != call["CALLER_UNIT"] {
				t.Errorf("the foreign write is attributed otherwise: %v", write)
			}
		})
	}
	st := h.Await(t, "an answer", 10*time.Second, func(supervisor.Status) bool { return true })
	if n := len(st.Ownership.Callers); n < 3 || tracerState(st).Lost != 0 {
		t.Errorf("%d callers, state %+v", n, tracerState(st))
	}
	t.Log(g.Run(t, "clockarbiter status; grep -E 'VmRSS|VmHWM' /proc/$(systemctl show --value -p MainPID clockarbiter)/status"))
}

// TestEnforce: what everybody else tries fails with EPERM and does not move the clock, until the
// supervisor is gone, however it went.
func TestEnforce(t *testing.T) {
	g, w, h := withBPF(t, traced(true))
	h.Await(t, "enforcing", 30*time.Second, func(st supervisor.Status) bool { return tracerState(st).Enforcing })
	w.StartTrace(t, 250*time.Millisecond)
	for _, do := range []string{
		"date -s '2026-06-01 13:00:00'",
		"adjtimex --tick 10100",
		"adjtimex --singleshot 400000",
		"unshare --pid --fork date -s '2026-06-01 13:00:00'",
		"timeout 10 chronyd -d -q 'server 10.8.0.1 iburst'",
		"hwclock --systohc",
	} {
		out, status, err := g.Try(do + " 2>&1")
		if err != nil || status == 0 {
			t.Errorf("%s succeeded: %v %s", do, err, out)
		}
		t.Logf("%s: %s", do, strings.TrimSpace(out))
	}
	st := h.Await(t, "counting", 10*time.Second, func(st supervisor.Status) bool { return tracerState(st).Refused >= 6 })
	t.Logf("%+v", tracerState(st))
	if st.Ownership.Intrusions != 0 {
		t.Errorf("%d foreign writes: %s", st.Ownership.Intrusions, st.Ownership.Last)
	}
	trace := w.CollectTrace(t)
	t.Log(trace)
	atMost(t, "true error", trace.Max(), lied)
	if n := trace.Steps(); n != 0 {
		t.Errorf("%d steps", n)
	}
	entry := caller(t, h, supervisor.MessageRefused, "date")
	t.Log(entry["MESSAGE"])
	if !strings.Contains(entry["CALLER_COMMAND"], "date -s") {
		t.Errorf("entry %v", entry)
	}

	// Nobody restarts it, and nobody else is refused any more.
	g.Run(t, "systemctl mask --runtime -q clockarbiter; systemctl kill -s KILL --kill-whom=main clockarbiter; sleep 2")
	if out, status, err := g.Try("date -s '+1 second' 2>&1"); err != nil || status != 0 {
		t.Errorf("after SIGKILL of the supervisor: %v %s", err, out)
	}
}
