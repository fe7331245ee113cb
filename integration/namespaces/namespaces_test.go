package namespaces_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/integration/namespaces"
)

// sceneVariable makes the test binary play a scene instead of running tests.
const sceneVariable = "NAMESPACES_TEST_SCENE"

func TestMain(m *testing.M) {
	os.Exit(namespaces.Run(3*time.Minute, func() int {
		switch os.Getenv(sceneVariable) {
		case "hold a world":
			return holdWorld()
		case "exit 42":
			return 42
		default:
			return m.Run()
		}
	}))
}

// holdWorld makes a world, says so, and stays until it is killed.
func holdWorld() int {
	w, err := namespaces.New(context.Background())
	if err == nil {
		_, err = w.AddGrandmaster("gm", namespaces.GrandmasterOptions{})
	}
	if err == nil {
		_, err = w.AddNTPServer("ntp1")
	}
	fmt.Println("world made", err)
	time.Sleep(time.Minute)
	return 0
}

// play runs the test binary again, in a scene.
func play(scene string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), sceneVariable+"="+scene)
	cmd.Stderr = os.Stderr
	return cmd
}

func newWorld(t *testing.T) (context.Context, *namespaces.World) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	w, err := namespaces.New(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.Report())
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, w
}

func TestRunReturnsTheExitStatusOfTheProgramInside(t *testing.T) {
	cmd := play("exit 42")
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 42 {
		t.Errorf("the program inside returned 42, outside %v was seen", cmd.ProcessState)
	}
}

func TestSignalsReachTheProgramInside(t *testing.T) {
	cmd := play("hold a world")
	waitMade(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if want := 128 + int(syscall.SIGTERM); cmd.ProcessState.ExitCode() != want {
		t.Errorf("exit status %d after SIGTERM, want %d", cmd.ProcessState.ExitCode(), want)
	}
}

// Killed at whatever point, a world is gone: its processes, and with them its network namespaces and its
// private mounts.
func TestAKilledWorldLeavesNothingBehind(t *testing.T) {
	before := processes(t)
	for _, after := range []time.Duration{
		0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond,
		100 * time.Millisecond, 300 * time.Millisecond, -1,
	} {
		name := after.String()
		if after < 0 {
			name = "made"
		}
		t.Run(name, func(t *testing.T) {
			cmd := play("hold a world")
			if after < 0 {
				waitMade(t, cmd)
				if n := len(processes(t)) - len(before); n < 5 {
					t.Fatalf("the world shows only %d processes: it was not made", n)
				}
			} else {
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(after)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			waitFor(t, 2*time.Second, func() string { return cmp.Diff(before, processes(t)) })
			if made, err := filepath.Glob("/run/world/*"); err != nil || len(made) > 0 {
				t.Errorf("left in /run/world: %q (%v)", made, err)
			}
		})
	}
}

// waitMade starts the scene "hold a world" and waits until the world is there.
func waitMade(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if want := "world made <nil>\n"; line != want {
		t.Fatalf("the scene said %q (%v), want %q", line, err, want)
	}
}

// processes lists every process that is alive in this PID namespace, or in one below it.
func processes(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var alive []string
	for _, dir := range dirs {
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue // It ended meanwhile.
		}
		alive = append(alive, filepath.Base(dir)+" "+strings.TrimSpace(string(name)))
	}
	return alive
}

// waitFor polls until missing returns "", and fails with what it returned last.
func waitFor(t *testing.T, limit time.Duration, missing func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		last := missing()
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still: %s", limit, last)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestALieIsToldWithinSeconds(t *testing.T) {
	ctx, w := newWorld(t)
	server, err := w.AddNTPServer("ntp1")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for _, lie := range []time.Duration{15 * time.Millisecond, -time.Second, 0} {
		began := time.Now()
		server.Lie(lie)
		if err := server.WaitTold(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a lie of %v took %v to be told", lie, took)
		}
	}
}

func TestAStoppedServerIsSilentAndAStartedOneServes(t *testing.T) {
	ctx, w := newWorld(t)
	server, err := w.AddNTPServer("ntp1")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := server.WaitTold(ctx); err == nil {
		t.Error("a stopped server still answers")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := server.WaitTold(ctx); err != nil {
		t.Error(err)
	}
}

func TestAGrandmasterIsHeardOverEveryTransport(t *testing.T) {
	for _, transport := range []string{"UDPv4", "UDPv6", "L2"} {
		t.Run(transport, func(t *testing.T) {
			_, w := newWorld(t)
			gm, err := w.AddGrandmaster("gm", fastGrandmaster(transport))
			if err != nil {
				t.Fatal(err)
			}
			listener := listen(t, w, gm, transport)
			waitForLog(t, listener, "to UNCALIBRATED on RS_SLAVE", "master offset")
		})
	}
}

func TestAKilledGrandmasterIsMissedAndAStartedOneIsHeardAgain(t *testing.T) {
	_, w := newWorld(t)
	gm, err := w.AddGrandmaster("gm", fastGrandmaster("UDPv4"))
	if err != nil {
		t.Fatal(err)
	}
	listener := listen(t, w, gm, "UDPv4")
	waitForLog(t, listener, "to UNCALIBRATED on RS_SLAVE")
	if err := gm.Kill(); err != nil {
		t.Fatal(err)
	}
	waitForLog(t, listener, "ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES")
	if err := gm.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 10*time.Second, func() string {
		if n := strings.Count(listener.Log(), "to UNCALIBRATED on RS_SLAVE"); n < 2 {
			return "not heard again"
		}
		return ""
	})
}

// fastGrandmaster talks often, so that the tests are short.
func fastGrandmaster(transport string) namespaces.GrandmasterOptions {
	return namespaces.GrandmasterOptions{Domain: 24, Transport: transport, LogSyncInterval: -3, LogAnnounceInterval: -2}
}

// listen runs a ptp4l on the host that measures the grandmaster and adjusts nothing.
func listen(t *testing.T, w *namespaces.World, gm *namespaces.Grandmaster, transport string) *namespaces.Process {
	t.Helper()
	ptp4l, err := w.Tool("ptp4l")
	if err != nil {
		t.Fatal(err)
	}
	argv := []string{
		ptp4l, "-i", gm.Interface(), "-s", "-m", "-q", "--free_running=1", "--kernel_leap=0",
		"--time_stamping=software", "--summary_interval=-4", "--domainNumber=24", "--logAnnounceInterval=-2",
		"--network_transport=" + transport, "--uds_address=" + filepath.Join(t.TempDir(), "ptp4l"),
	}
	p, err := w.StartWithoutClock("listener", nil, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// waitForLog waits until the process has printed each of the words.
func waitForLog(t *testing.T, p *namespaces.Process, words ...string) {
	t.Helper()
	for _, word := range words {
		waitFor(t, 15*time.Second, func() string {
			if !strings.Contains(p.Log(), word) {
				return "not in its log: " + word
			}
			return ""
		})
	}
}

// A process whose parent died is the init's to collect; a zombie would look alive to whoever asks.
func TestOrphansAreReaped(t *testing.T) {
	before := processes(t)
	if err := exec.Command("sh", "-c", "sleep 0.2 &").Run(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 2*time.Second, func() string { return cmp.Diff(before, processes(t)) })
}

// Nothing in a world can touch the clock that its host lives by.
func TestHelpersHaveNoHandOnTheClock(t *testing.T) {
	_, w := newWorld(t)
	p, err := w.StartWithoutClock("sleep", nil, "sleep", "10")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, 2*time.Second, func() string {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID()))
		if err != nil || string(comm) != "sleep\n" {
			return fmt.Sprintf("setpriv has not run sleep yet: %q %v", comm, err)
		}
		return ""
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		name, set, found := strings.Cut(line, ":")
		if !found || !strings.HasPrefix(name, "Cap") {
			continue
		}
		var mask uint64
		if _, err := fmt.Sscanf(strings.TrimSpace(set), "%x", &mask); err != nil {
			t.Fatal(err)
		}
		// CAP_SYS_TIME is 25 (linux/capability.h).
		if mask&(1<<25) != 0 {
			t.Errorf("%s holds CAP_SYS_TIME: %x", name, mask)
		}
	}
}
