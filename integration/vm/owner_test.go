package vm_test

import (
	"os/exec"
	"path/filepath"
	"slices"
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
	t.Parallel()
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
	h := vm.Install(t, g, toml)
	h.DropIn(t, "bpf")
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

// callersAreNamed: whoever writes to the clock is named by the kernel, though it ends at once.
func callersAreNamed(t *testing.T) {
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

// enforce: what everybody else tries fails with EPERM and does not move the clock, until the
// supervisor is gone, however it went.
func enforce(t *testing.T) {
	g, w, h := withBPF(t, traced(true))
	h.Await(t, "enforcing", 30*time.Second, func(st supervisor.Status) bool { return tracerState(st).Enforcing })
	g.Sleep(t, 20*time.Second) // the rate is not known before, and the promise is wide
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
	promised(t, trace)
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

// unitProcesses prints user, name, process group, capabilities and cgroup of every process of the unit.
const unitProcesses = `cd /sys/fs/cgroup/system.slice/clockarbiter.service
for p in $(cat cgroup.procs */cgroup.procs); do
	echo "$(stat -c %U /proc/$p) $(cat /proc/$p/comm) $(sed -n 's/^CapBnd:\t0*\([0-9a-f]\)/\1/p; s/^NoNewPrivs:\t//p' /proc/$p/status | tr '\n' ' ')$(sed 's/.*clockarbiter.service//' /proc/$p/cgroup)"
done | sort`

// TestNobodyIsRoot: the unit with hardware timestamps runs under three users, none of them root, each child in
// a cgroup of its own.
func TestNobodyIsRoot(t *testing.T) {
	t.Parallel()
	g, _, h := locked(t, ordinary, hardwareA+threeNTP, "ptp:enp2s0")
	const want = `clockarbiter clockarbiter 20035e0 1 /supervisor
clockarbiter-ntp chronyd 0 1 /child-chronyd
clockarbiter-ptp ptp4l 3000 1 /child-ptp4l-enp2s0-0`
	if got := strings.TrimSpace(g.Run(t, unitProcesses)); got != want {
		t.Errorf("processes\n%s\nwant\n%s", got, want)
	}
	if got := g.Run(t, "cd /sys/fs/cgroup/system.slice/clockarbiter.service/child-ptp4l-enp2s0-0; cat memory.max pids.max memory.oom.group"); got != "134217728\n64\n1\n" {
		t.Errorf("limits %q", got)
	}
	pid := property(t, g, "MainPID")
	second := "{ echo '[paths]'; echo 'run_dir = \"/run/second\"'; echo 'state_dir = \"/var/lib/second\"'; cat /etc/clockarbiter/clockarbiter.toml; } >/run/second.toml; " +
		"clockarbiter run --config /run/second.toml 2>&1"
	if out, status, err := g.Try(second); err != nil || status == 0 || !strings.Contains(out, "pid "+pid+", uid ") || !strings.Contains(out, "clockarbiter.service") {
		t.Errorf("a second one, status %d, %v: %s", status, err, out)
	}
	g.Run(t, "systemctl reload clockarbiter && systemctl restart clockarbiter")
	h.Await(t, "locked to PTP after a restart", 2*time.Minute, vm.Following("ptp:enp2s0"))
	g.Run(t, "systemctl stop clockarbiter; ! ls -d /sys/fs/cgroup/system.slice/clockarbiter.service/child-* 2>/dev/null")
}

// leaky stands in for ptp4l: it starts a grandchild that flees its process group, and takes ever more memory.
const leaky = `#!/usr/bin/perl
if ("@ARGV" =~ /-v/) { print "4.2\n"; exit 0 }
if (fork == 0) { setpgrp; exec "sleep", "86399" }
while (1) { push @memory, "x" x 1_000_000; select(undef, undef, undef, 0.1) }
`

// aLeakingChildIsKilledAlone: by its own limit, with what it started, and nobody else notices.
func aLeakingChildIsKilledAlone(t *testing.T) {
	g := vm.Start(t, vm.Virtual)
	vm.NewWorld(t, g, ordinary)
	h := vm.Install(t, g, "[ptp]\nptp4l = \"/usr/local/bin/leaky\"\n"+hardwareA+threeNTP)
	g.Put(t, "/usr/local/bin/leaky", 0o755, []byte(leaky))
	h.Start(t)
	chronyd := strings.TrimSpace(g.Run(t, "sleep 1; pgrep -x chronyd"))
	if s := strings.TrimSpace(g.Run(t, "sleep 5; pgrep -x sleep -u clockarbiter-ptp | wc -l")); s == "0" {
		t.Errorf("%s grandchildren: the test shows nothing\n%s", s, h.Tail(t))
	}
	st := h.Await(t, "killed", time.Minute, func(st supervisor.Status) bool {
		return slices.ContainsFunc(st.Children, func(c supervisor.ChildStatus) bool { return strings.Contains(c.LastExit, "above its memory limit") })
	})
	t.Logf("%+v", st.Children)
	h.Await(t, "locked to NTP", time.Minute, vm.Following("ntp"))
	if now := strings.TrimSpace(g.Run(t, "pgrep -x chronyd")); now != chronyd {
		t.Errorf("chronyd was %s and is %s", chronyd, now)
	}
	g.Run(t, "systemctl stop clockarbiter; sleep 1; ! pgrep -u clockarbiter-ptp")
}
