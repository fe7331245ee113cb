package tracer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var noProc = fstest.MapFS{}

// fake is programs without a kernel.
type fake struct {
	mu                  sync.Mutex
	traceErr, refuseErr error
	on, unlinked        bool
	seen                counters
	rawC                chan []byte
	closed              bool
}

func (f *fake) trace() error { return f.traceErr }

func (f *fake) enforce(on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on && f.refuseErr != nil {
		return f.refuseErr
	}
	f.on = on
	return nil
}

func (f *fake) linked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on && !f.unlinked
}

func (f *fake) counts() (counters, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen, nil
}

func (f *fake) next() ([]byte, error) {
	raw, ok := <-f.rawC
	if !ok {
		return nil, os.ErrClosed
	}
	return raw, nil
}

func (f *fake) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.on = true, false
	close(f.rawC)
}

// writes are our own: the hook sees them while it is in place and at work.
func (f *fake) writes(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen.own += n
}

// running is a tracer that runs over f until the test ends.
func running(t *testing.T, o Options, f *fake) *Tracer {
	return runningWith(t, o, func() (programs, error) { return f, nil })
}

func runningWith(t *testing.T, o Options, open func() (programs, error)) *Tracer {
	tr := New(o)
	tr.open, tr.finder = open, finder{proc: noProc, known: map[uint64]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { tr.Run(ctx) })
	t.Cleanup(func() { cancel(); wait.Wait() })
	return tr
}

func TestEnforcementIsBelievedWhenSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{rawC: make(chan []byte)}
		tr := running(t, Options{Enforce: true, Period: 250 * time.Millisecond}, f)
		state := func(after time.Duration) State {
			time.Sleep(after)
			synctest.Wait()
			return tr.State()
		}
		if s := state(2 * time.Second); s.Enforcing || !strings.HasPrefix(s.EnforcingProblem, "lifted") {
			t.Errorf("not wanted yet: %+v", s)
		}
		tr.Want(true)
		if s := state(1100 * time.Millisecond); s.Enforcing || s.EnforcingProblem != NotYet {
			t.Errorf("in place, nothing has come by: %+v", s)
		}
		f.writes(4)
		if s := state(time.Second); !s.Enforcing || s.EnforcingProblem != "" {
			t.Errorf("our writes came by: %+v", s)
		}
		if s := state(10 * time.Second); s.Enforcing || !strings.Contains(s.EnforcingProblem, "not seen at work") {
			t.Errorf("our writes come by no longer: %+v", s)
		}
		f.writes(1)
		f.mu.Lock()
		f.unlinked = true
		f.mu.Unlock()
		if s := state(time.Second); s.Enforcing || !strings.Contains(s.EnforcingProblem, "dropped") {
			t.Errorf("the kernel has dropped it: %+v", s)
		}
		f.mu.Lock()
		f.unlinked, f.seen.refused, f.seen.lost = false, 3, 2
		f.mu.Unlock()
		tr.Want(true)
		tr.Want(false) // the newest word counts
		if s := state(2 * time.Second); s.Enforcing || !strings.HasPrefix(s.EnforcingProblem, "lifted") || s.Refused != 3 || s.Lost != 2 {
			t.Errorf("not wanted any more: %+v", s)
		}
	})
}

// What passed the hook before it was put in its place anew proves nothing.
func TestOldEvidenceDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{rawC: make(chan []byte), seen: counters{own: 9}}
		tr := running(t, Options{Enforce: true, Period: time.Second}, f)
		tr.Want(true)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if s := tr.State(); s.Enforcing {
			t.Errorf("%+v", s)
		}
	})
}

func TestWhatHindersIsSaidWithItsRemedy(t *testing.T) {
	for _, c := range []struct {
		rule string
		err  error
		want string
	}{
		{"no BTF", errNoBTF, "CONFIG_DEBUG_INFO_BTF"},
		{"no capability", fmt.Errorf("%w: CAP_BPF missing", errCapabilities), "bpf.conf"},
		{"a filter of system calls", permission(fmt.Errorf("load: %w", unix.EPERM)), "the system call bpf"},
		{"no LSM", errNoLSM, "lsm="},
		{"a container's PIDs", errNamespace, "host's"},
		{"too old", fmt.Errorf("load: %w", unix.EINVAL), "Linux 5.11"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := runningWith(t, Options{Trace: true, Enforce: true}, func() (programs, error) { return nil, c.err })
				synctest.Wait()
				s := tr.State()
				if s.Tracing || s.Enforcing || !strings.Contains(s.TracingProblem, c.want) || s.TracingProblem != s.EnforcingProblem {
					t.Errorf("%+v, want %q", s, c.want)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fake{rawC: make(chan []byte), refuseErr: errNoLSM}
		tr := running(t, Options{Trace: true, Enforce: true, Period: time.Second}, f)
		tr.Want(true)
		synctest.Wait()
		if s := tr.State(); !s.Tracing || s.Enforcing || !strings.Contains(s.EnforcingProblem, "lsm=") {
			t.Errorf("tracing without an LSM: %+v", s)
		}
	})
}

// A process that does nothing but write neither blocks anybody nor goes uncounted.
func TestAFloodIsCountedAndBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{rawC: make(chan []byte)}
		tr := running(t, Options{Trace: true}, f)
		raw := sample{hook: hookSetTime, process: 5, thread: 5, name: "date"}.raw()
		begin := time.Now()
		for range 10 * callQueue {
			f.rawC <- raw
		}
		f.rawC <- sample{hook: hookAdjtimex, modes: 0xa001}.raw() // a reading
		f.rawC <- []byte("nonsense")
		synctest.Wait()
		if s := tr.State(); s.Lost != 9*callQueue || len(tr.C) != callQueue {
			t.Errorf("lost %d, %d wait", s.Lost, len(tr.C))
		}
		if took := time.Since(begin); took < 9*callQueue/burst*burstPause {
			t.Errorf("%d calls were read in %v", 10*callQueue, took)
		}
		if c := <-tr.C; c.PID != 5 || c.Name != "date" || c.Refused {
			t.Errorf("%+v", c)
		}
	})
}

const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestACallerIsFoundAliveOrGone(t *testing.T) {
	root := t.TempDir()
	inodes := map[string]uint64{"/": 1, "/system.slice": 2, "/system.slice/cron.service": 3, "/system.slice/docker-" + id + ".scope": 4}
	for dir := range inodes {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	proc := fstest.MapFS{
		"300/status":  {Data: []byte("Name:\tdate\nPPid:\t1\nNSpid:\t300\nCapEff:\t0000000000000000\n")},
		"300/cmdline": {Data: []byte("date\x00-s\x00" + strings.Repeat("long ", 30) + "\x00")},
		"300/cgroup":  {Data: []byte("0::/system.slice/ntpdate.service\n")},
		"301/status":  {Data: []byte("Name:\tdate\nState:\tZ (zombie)\nPPid:\t1\nNSpid:\t301\nCapEff:\t0000000000000000\n")},
		"301/cmdline": {},
	}
	f := finder{proc: proc, cgroups: root, known: map[uint64]string{}, inode: func(path string) (uint64, error) {
		return inodes["/"+strings.TrimPrefix(strings.TrimPrefix(path, root), "/")], nil
	}}
	type row struct{ Name, Unit, Container string }
	for _, c := range []struct {
		rule string
		r    record
		want row
	}{
		{"it lives", record{process: 300, name: "date", args: []string{"date", "-s"}, cgroup: 3}, row{"date", "ntpdate.service", ""}},
		{"its number is another's by now", record{process: 300, name: "hwclock", args: []string{"hwclock"}, cgroup: 3}, row{"hwclock", "cron.service", ""}},
		{"a thread of it", record{process: 300, name: "worker", args: []string{"date", "-s"}, cgroup: 3}, row{"worker", "ntpdate.service", ""}},
		{"its number is another's, and no argument is known", record{process: 300, name: "hwclock", cgroup: 3}, row{"hwclock", "cron.service", ""}},
		{"gone, its cgroup is there", record{process: 9, name: "date", cgroup: 4}, row{"date", "docker-" + id + ".scope", "docker 0123456789ab"}},
		{"gone, with its cgroup", record{process: 9, name: "date", cgroup: 99, leaf: "backup.service"}, row{"date", "backup.service", ""}},
		{"ending, its own cgroup is gone", record{process: 301, name: "date", args: []string{"date", "-s"}, cgroup: 99, leaf: "stranger.service"}, row{"date", "stranger.service", ""}},
		{"gone without a trace", record{process: 9, name: "date"}, row{"date", "", ""}},
	} {
		c.r.hook = hookSetTime
		got := f.call(c.r)
		if diff := cmp.Diff(c.want, row{got.Name, got.Unit, got.Container}); diff != "" {
			t.Errorf("%s:\n%s", c.rule, diff)
		}
	}
	if got := f.call(record{hook: hookSetTime, process: 300, name: "date", args: []string{"date", "-s"}}).Command; len(got) < 150 {
		t.Errorf("the command of a living process is cut: %q", got)
	}
	if got := f.call(record{hook: hookSetTime, process: 301, name: "date", args: []string{"date", "-s"}}).Command; got != "date -s" {
		t.Errorf("the command of a zombie: %q", got)
	}
}

func TestAnAgeIsNeverNegative(t *testing.T) {
	if got := (Call{Monotonic: 1 << 62}).Age(); got != 0 {
		t.Error(got)
	}
	if got := (Call{}).Age(); got <= 0 {
		t.Error(got)
	}
}

func TestTheListOfSecurityModulesIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lsm")
	for text, want := range map[string]bool{"lockdown,capability,bpf\n": true, "lockdown,capability": false, "": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := hasLSM(path); errors.Is(err, errNoLSM) == want {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := hasLSM("/nowhere"); err != nil {
		t.Errorf("where it cannot be read, the hook is the answer: %v", err)
	}
}
