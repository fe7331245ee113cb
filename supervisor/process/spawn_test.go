package process

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// quick restarts at once.
func quick() Options {
	return Options{Backoff: Backoff{Min: time.Millisecond, Max: time.Millisecond}, Grace: 300 * time.Millisecond}
}

// patient does not restart within a test.
func patient() Options {
	return Options{Backoff: Backoff{Min: time.Hour, Max: time.Hour}, Grace: 300 * time.Millisecond}
}

func TestExitIsReportedWithTheLastLines(t *testing.T) {
	tr := try(t, fakeSpec("child", "exit"), patient())
	started, exited := tr.await(EventStarted), tr.await(EventExited)
	if exited.Exit.String() != "exit status 3" || exited.Exit.PID != started.PID || exited.PID != started.PID {
		t.Errorf("started %+v, exited %+v", started, exited.Exit)
	}
	if diff := cmp.Diff([]string{"about to end"}, exited.Exit.Lines); diff != "" {
		t.Error(diff)
	}
	if exited.Exit.Ran <= 0 || exited.Exit.CPU <= 0 || exited.Exit.MaxRSS < 1<<20 {
		t.Errorf("use of resources %+v", exited.Exit)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", exited.PID)); err == nil {
		t.Errorf("process %d is not reaped", exited.PID)
	}
}

// syncBuffer is a bytes.Buffer for a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func TestGarbageIsLoggedPrintableWithNameAndPID(t *testing.T) {
	var text syncBuffer
	options := patient()
	options.Logger = slog.New(slog.NewTextHandler(&text, nil))
	tr := try(t, fakeSpec("shouter", "garbage"), options)
	e := tr.await(EventExited)
	full := strings.Repeat("x", maxLine)
	want := []string{"tab\tand \\xff\\xfe and \\x1b[31mred\\x1b[0m", `\x00`, full, full, full, "xxxxxxxxxx", "last without an end"}
	if diff := cmp.Diff(want, e.Exit.Lines); diff != "" {
		t.Error(diff)
	}
	if err := tr.end(); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`level=INFO msg="child output" child=shouter pid=%d line="last without an end"`, e.PID); !strings.Contains(text.String(), want) {
		t.Errorf("log lacks %q:\n%s", want, text.String())
	}
}

func TestChildFindsWhatTheSpecSays(t *testing.T) {
	spec := fakeSpec("child", "facts")
	spec.Argv = append(spec.Argv, "two words", "", "$HOME;`id`", "größer\n")
	spec.Env = append(spec.Env, "A=b c")
	spec.Dir = t.TempDir()
	spec.Limits = Limits{MaxMemory: 1 << 30, MaxFiles: 77}
	tr := try(t, spec, patient())
	want := fmt.Sprintf("dir=%s umask=007 env=%q args=%q data=%d files=77 stdin=0 group=true", spec.Dir, spec.Env, spec.Argv[1:], 1<<30)
	if got := tr.awaitLine("dir="); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMissingProgramIsAClearErrorAndStartsWhenItAppears(t *testing.T) {
	program := filepath.Join(t.TempDir(), "daemon")
	tr := try(t, Spec{Name: "late", Argv: []string{program, "60"}}, quick())
	e := tr.await(EventStartFailed)
	want := "start late: program " + program + " does not exist: install it or correct its path in the configuration: no such file or directory"
	if e.Err.Error() != want {
		t.Errorf("error %q\nwant  %q", e.Err, want)
	}
	if got := tr.State(); got.PID != 0 || got.LastExit != nil {
		t.Errorf("state %+v", got)
	}
	if err := os.Symlink("/bin/sleep", program); err != nil {
		t.Fatal(err)
	}
	tr.await(EventStarted)
	if got := tr.State(); got.LastError != nil || got.Restarts == 0 {
		t.Errorf("state once it runs: %+v", got)
	}
}

func TestStartErrorsNameTheCause(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		rule string
		spec Spec
		want string
	}{
		{"not executable", Spec{Argv: []string{file("plain", "x", 0o600)}}, "may not be executed by user id"},
		{"not a program", Spec{Argv: []string{file("text", "x", 0o700)}}, "is not an executable of this machine"},
		{"no interpreter", Spec{Argv: []string{file("script", "#!/nowhere\n", 0o700)}}, "interpreter or loader that does not exist"},
		{"no directory", Spec{Argv: []string{"/bin/true"}, Dir: "/nowhere"}, "enter working directory: chdir /nowhere: no such file"},
		{"no user", Spec{Argv: []string{"/bin/true"}, Credential: Credential{User: "no-such-user"}}, `user "no-such-user" is not known: create it`},
		{"no group", Spec{Argv: []string{"/bin/true"}, Credential: Credential{User: "nobody", Group: "no-such-group"}}, `group "no-such-group" is not known`},
	} {
		test.spec.Name = "child"
		tr := try(t, test.spec, patient())
		if e := tr.await(EventStartFailed); !strings.Contains(e.Err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.rule, e.Err, test.want)
		}
	}
}

func TestAChildThatIgnoresTermIsKilledAfterTheGrace(t *testing.T) {
	tr := try(t, fakeSpec("stubborn", "ignore-term"), patient())
	tr.awaitLine("ready")
	pid := tr.State().PID
	begin := time.Now()
	if err := tr.end(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 300*time.Millisecond || took > 2*time.Second {
		t.Errorf("stopped after %v, grace 300ms", took)
	}
	if got := tr.State().LastExit; got.Signal != unix.SIGKILL || !got.Forced || alive(pid) {
		t.Errorf("exit %v, alive %t", got, alive(pid))
	}
}

func TestAStoppedChildIsRestarted(t *testing.T) {
	tr := try(t, fakeSpec("hung", "sleep"), quick())
	tr.awaitLine("ready")
	pid := tr.State().PID
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	tr.Restart("no samples")
	if e := tr.await(EventExited); e.PID != pid || e.Exit.Signal != unix.SIGTERM || !e.Exit.Asked {
		t.Errorf("exit %+v", e.Exit)
	}
	if e := tr.await(EventStarted); e.PID == pid || e.Restarts != 1 {
		t.Errorf("started again: %+v", e)
	}
}

func TestAGrandchildInTheGroupDiesWithTheChild(t *testing.T) {
	spec := fakeSpec("parent", "grandchild")
	tr := try(t, spec, patient())
	var grandchild int
	if _, err := fmt.Sscanf(tr.awaitLine("grandchild"), "grandchild %d", &grandchild); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(tr.State().PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := tr.await(EventExited); e.Exit.String() != "killed by SIGKILL" {
		t.Errorf("exit %v", e.Exit)
	}
	eventually(t, time.Second, "the grandchild is dead", func() bool { return !alive(grandchild) })
}

func TestAGrandchildThatEscapesDoesNotHoldUpTheExit(t *testing.T) {
	tr := try(t, fakeSpec("parent", "daemon"), patient())
	var grandchild int
	if _, err := fmt.Sscanf(tr.awaitLine("grandchild"), "grandchild %d", &grandchild); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Kill(grandchild, unix.SIGKILL) }()
	begin := time.Now()
	tr.await(EventExited)
	if took := time.Since(begin); took > 200*time.Millisecond+drainTimeout+time.Second {
		t.Errorf("exit was reported after %v", took)
	}
	if !alive(grandchild) {
		t.Error("the grandchild did not escape: the test shows nothing")
	}
}

func TestOneSlowStopDelaysNobody(t *testing.T) {
	slow := fakeSpec("slow", "ignore-term")
	slow.Grace = 2 * time.Second
	slowTrial := try(t, slow, quick())
	slowTrial.awaitLine("ready")
	other := try(t, fakeSpec("other", "sleep"), quick())
	other.awaitLine("ready")
	slowTrial.cancel()
	eventually(t, time.Second, "slow is stopping", func() bool { return slowTrial.State().Phase == PhaseStopping })
	begin := time.Now()
	other.Restart("test")
	other.await(EventRestarting)
	other.await(EventStarted)
	if err := other.end(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 1500*time.Millisecond || slowTrial.State().Phase != PhaseStopping {
		t.Errorf("the other was restarted and stopped in %v, slow is %v", took, slowTrial.State().Phase)
	}
}

func TestAChildOutlivesTheThreadsOfOthers(t *testing.T) {
	tr := try(t, fakeSpec("child", "sleep"), patient())
	tr.awaitLine("ready")
	var wait sync.WaitGroup
	for range 300 {
		wait.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			time.Sleep(10 * time.Millisecond)
		})
	}
	wait.Wait()
	time.Sleep(100 * time.Millisecond)
	if got := tr.State(); got.Phase != PhaseRunning {
		t.Errorf("the child is gone: %+v", got)
	}
}

// descriptors returns the number of open descriptors of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestAHundredRestartsLeakNothing(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would close files that were forgotten
	try(t, Spec{Name: "warm", Argv: []string{"/bin/true"}}, patient()).await(EventExited)
	goroutines, fds := runtime.NumGoroutine(), descriptors(t)
	for _, program := range []string{"/bin/true", "/nowhere"} {
		token := fmt.Sprintf("leak-%d", rand.Uint64())
		tr := try(t, Spec{Name: token, Argv: []string{program, token}}, quick())
		eventually(t, 60*time.Second, "50 restarts", func() bool { return tr.State().Restarts >= 50 })
		if err := tr.end(); err != nil {
			t.Fatal(err)
		}
		if got := processesOf(t, token); got != nil {
			t.Errorf("processes %v are left", got)
		}
	}
	eventually(t, 2*time.Second, fmt.Sprintf("back to %d goroutines and %d descriptors", goroutines, fds), func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors(t) <= fds
	})
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("children or zombies are left: %v", err)
	}
}

func TestTheEndComesAtAnyInstantOfAStart(t *testing.T) {
	for i := range 20 {
		token := fmt.Sprintf("early-%d", rand.Uint64())
		tr := try(t, fakeSpec(token, "sleep"), quick())
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		begin := time.Now()
		if err := tr.end(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if got := processesOf(t, token); got != nil {
			t.Errorf("processes %v are left", got)
		}
	}
}

// supervisor runs a supervising process with two children, and returns it with its lines.
func supervisor(t *testing.T, token string, env ...string) (*exec.Cmd, <-chan string) {
	t.Helper()
	cmd := exec.Command(self)
	cmd.Env = append(fakeEnv("supervise"), append(env, "TOKEN="+token)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, lineReader(out)
}

func TestAKilledSupervisorLeavesNoChild(t *testing.T) {
	var env []string
	if unix.Geteuid() == 0 {
		env = []string{"CHILD_USER=nobody", "CHILD_CAPABILITY=CAP_NET_BIND_SERVICE"}
	}
	worst := time.Duration(0)
	for i := range 20 {
		token := "-" + strconv.FormatUint(rand.Uint64(), 36)
		cmd, lineC := supervisor(t, token, env...)
		if i%2 == 0 { // at rest; otherwise somewhere in the middle of its starts
			for started := 0; started < 2; {
				if strings.Contains(<-lineC, " started as process ") {
					started++
				}
			}
		} else {
			time.Sleep(time.Duration(5+4*i) * time.Millisecond)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, _ = cmd.Process.Wait()
		eventually(t, 2*time.Second, "no process with "+token, func() bool { return processesOf(t, token) == nil })
		worst = max(worst, time.Since(begin))
	}
	t.Logf("worst time from the kill to the death of all children: %v", worst)
}
