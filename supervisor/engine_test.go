package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/chrony"
	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/integration/frugal"
	"clockarbiter/ptp"
	"clockarbiter/sources"
	"clockarbiter/supervisor/process"
)

// harbour is a fleet whose children are small programs, and what comes out of it.
type harbour struct {
	t *testing.T
	*fleet
	ctx     context.Context
	cfg     *configs.Config
	dir     string
	updates chan sources.Update
	eventC  chan process.Event
	// silent children get an adapter that never answers.
	silent map[string]bool

	events []process.Event
}

// wallClock is L for who only needs it to go on.
type wallClock struct{}

func (wallClock) Now() timescale.Instant { return timescale.Instant(time.Now().UnixNano()) }
func (wallClock) Local(ns int64) (timescale.Instant, error) {
	return timescale.Instant(ns), nil
}
func (wallClock) FromMonotonicRaw(ns int64) timescale.Instant { return timescale.Instant(ns) }

// answering is an adapter whose child always answers.
type answering struct{ silent bool }

func (a answering) Run(ctx context.Context, out chan<- sources.Update) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case out <- sources.Update{Answered: !a.silent}:
		}
	}
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("children change their user and capabilities: run the tests as root")
	}
	cfg := parse(t, rigConfig)
	cfg.Process.Grace, cfg.Process.BackoffMin = configs.Duration(200*time.Millisecond), configs.Duration(50*time.Millisecond)
	cfg.Process.SampleTimeout = configs.Duration(1500 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	h := &harbour{
		t: t, ctx: ctx, cfg: cfg, dir: t.TempDir(), silent: map[string]bool{},
		updates: make(chan sources.Update, 1000), eventC: make(chan process.Event, 1000),
	}
	h.fleet = &fleet{build: h.engine}
	t.Cleanup(func() {
		cancel()
		h.wait()
	})
	return h
}

func (h *harbour) engine(cfg *configs.Config, c Child, p Plan) *engine {
	return &engine{
		child: c, sources: p.sourcesOf(c.Name), process: cfg.Process, host: wallClock{}, log: discard(),
		updates: h.updates, events: h.eventC,
		adapters: func(c Child, _ hostClock, _ *slog.Logger) []adapter { return []adapter{answering{h.silent[c.Name]}} },
	}
}

// child is one of the plan that runs argv as root, without a capability.
func (h *harbour) child(name string, argv ...string) Child {
	dir := filepath.Join(h.dir, name)
	return Child{Name: name, Argv: argv, Dir: dir, User: User{Name: "root"}, ptp: &ptp.Config{Dir: dir}}
}

func harbourPlan(children ...Child) Plan {
	p := Plan{Children: children}
	for _, c := range children {
		p.Sources = append(p.Sources, PlannedSource{ID: sources.ID("ptp:" + c.Name + ":0"), Kind: sources.PTP, Child: c.Name})
	}
	return p
}

// of is the status of a child.
func (h *harbour) of(name string) ChildStatus {
	list := h.status()
	i := slices.IndexFunc(list, func(c ChildStatus) bool { return c.Name == name })
	if i < 0 {
		return ChildStatus{}
	}
	return list[i]
}

func (h *harbour) await(what string, limit time.Duration, condition func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("not within %v: %s; children %+v", limit, what, h.status())
		}
	}
}

func (h *harbour) awaitRunning(names ...string) {
	h.t.Helper()
	for _, n := range names {
		h.await(n+" runs", 10*time.Second, func() bool { return h.of(n).Phase == "running" })
	}
}

// awaitEvent returns the next event of a kind of a child.
func (h *harbour) awaitEvent(name string, kind process.EventKind, limit time.Duration) process.Event {
	h.t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case ev := <-h.eventC:
			h.events = append(h.events, ev)
			if ev.Name == name && ev.Kind == kind {
				return ev
			}
		case <-timeout:
			h.t.Fatalf("no event %v of %s within %v; seen: %v", kind, name, limit, h.events)
		}
	}
}

func TestAnEngineThatCannotRunSaysWhyUntilItsPlanChangesAndTheOthersGoOn(t *testing.T) {
	h := newHarbour(t)
	good, bad := h.child("good", "/bin/sleep", "60"), h.child("bad", "/bin/sleep", "60")
	bad.Problem = "interface eth9 does not exist"
	h.apply(h.ctx, h.cfg, harbourPlan(good, bad))
	h.awaitRunning("good")
	pid := h.of("good").PID
	h.await("the problem is reported", 5*time.Second, func() bool {
		u := <-h.updates
		return len(u.Reports) == 1 && u.Reports[0].Source == "ptp:bad:0" && u.Reports[0].Condition == sources.Unreachable && u.Reports[0].Detail == bad.Problem
	})
	if st := h.of("bad"); st.Phase != "waiting" || st.Problem != bad.Problem || st.PID != 0 {
		t.Errorf("status of what cannot run: %+v", st)
	}

	bad.Problem = ""
	did := h.apply(h.ctx, h.cfg, harbourPlan(good, bad))
	if want := "replaced bad"; did.String() != want {
		t.Errorf("changes %q, want %q", did, want)
	}
	h.awaitRunning("bad")
	if got := h.of("good").PID; got != pid {
		t.Errorf("good has process %d, it had %d", got, pid)
	}
	did = h.apply(h.ctx, h.cfg, harbourPlan(bad))
	if want := "stopped good"; did.String() != want {
		t.Errorf("changes %q, want %q", did, want)
	}
	h.await("good is gone", 5*time.Second, func() bool { return unix.Kill(pid, 0) != nil })
	if did := h.apply(h.ctx, h.cfg, harbourPlan(bad)); !did.none() {
		t.Errorf("the same plan again did something: %v", did)
	}
}

func TestAReplacedEngineStartsWhenItsPredecessorHasEnded(t *testing.T) {
	h := newHarbour(t)
	// It ignores TERM: the successor has to wait for the grace.
	stubborn := h.child("one", "/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
	h.apply(h.ctx, h.cfg, harbourPlan(stubborn))
	h.awaitRunning("one")
	old := h.of("one").PID
	h.apply(h.ctx, h.cfg, harbourPlan(h.child("one", "/bin/sleep", "60")))
	h.await("the successor runs", 5*time.Second, func() bool {
		st := h.of("one")
		if alive := unix.Kill(old, 0) == nil; alive && st.PID != 0 {
			t.Fatalf("process %d runs beside its predecessor %d", st.PID, old)
		}
		return st.Phase == "running"
	})
}

func TestAChildThatCrashesAtOnceIsRestartedWithBackoffAndDisturbsNobody(t *testing.T) {
	h := newHarbour(t)
	h.apply(h.ctx, h.cfg, harbourPlan(h.child("crash", "/bin/sh", "-c", "echo no clock here; exit 3"), h.child("good", "/bin/sleep", "60")))
	h.awaitRunning("good")
	pid := h.of("good").PID
	ev := h.awaitEvent("crash", process.EventExited, 5*time.Second)
	if ev.Exit.Code != 3 || !contains(ev.Exit.Lines, "no clock here") {
		t.Errorf("exit %v with %q", ev.Exit, ev.Exit.Lines)
	}
	for range 3 {
		h.awaitEvent("crash", process.EventBackingOff, 5*time.Second)
	}
	if st := h.of("crash"); st.Restarts < 2 || !strings.Contains(st.LastExit, "exit status 3") {
		t.Errorf("status %+v", st)
	}
	if st := h.of("good"); st.PID != pid || st.Restarts != 0 {
		t.Errorf("good was disturbed: %+v", st)
	}
}

func TestAProgramThatDoesNotExistIsAnEventAndAState(t *testing.T) {
	h := newHarbour(t)
	h.apply(h.ctx, h.cfg, harbourPlan(h.child("none", "/nonexistent/ptp4l")))
	ev := h.awaitEvent("none", process.EventStartFailed, 5*time.Second)
	if !strings.Contains(ev.Err.Error(), "does not exist") {
		t.Errorf("error %v", ev.Err)
	}
	h.await("status says so", 5*time.Second, func() bool { return strings.Contains(h.of("none").Problem, "does not exist") })
}

func TestGarbageOnStdoutIsOnlyLogged(t *testing.T) {
	h := newHarbour(t)
	h.apply(h.ctx, h.cfg, harbourPlan(h.child("garbage", "/bin/sh", "-c", "head -c 300000 /dev/urandom; exec sleep 60")))
	h.awaitRunning("garbage")
	time.Sleep(2 * time.Second)
	if st := h.of("garbage"); st.Phase != "running" || st.Restarts != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestAChildWithoutASignOfLifeIsRestartedInBoundedTime(t *testing.T) {
	for _, tc := range []struct {
		name   string
		argv   []string
		silent bool
		stop   bool
		reason string
	}{
		{"mute", []string{"/bin/sleep", "60"}, true, false, "it hangs"},
		{"looping", []string{"/bin/sh", "-c", "while :; do :; done"}, true, false, "it loops"},
		{"stopped", []string{"/bin/sleep", "60"}, false, true, "stopped by a signal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHarbour(t)
			h.cfg.Process.SampleTimeout = configs.Duration(3 * time.Second)
			h.silent[tc.name] = tc.silent
			h.apply(h.ctx, h.cfg, harbourPlan(h.child(tc.name, tc.argv...), h.child("good", "/bin/sleep", "60")))
			h.awaitRunning(tc.name, "good")
			pid, good := h.of(tc.name).PID, h.of("good").PID
			if tc.stop {
				if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			ev := h.awaitEvent(tc.name, process.EventRestarting, 10*time.Second)
			if !strings.Contains(ev.Reason, tc.reason) {
				t.Errorf("restarted because of %q, want %q", ev.Reason, tc.reason)
			}
			h.await("it runs again", 5*time.Second, func() bool { st := h.of(tc.name); return st.Phase == "running" && st.PID != pid })
			if h.of("good").PID != good {
				t.Error("good was restarted too")
			}
		})
	}
}

// A machine that stood still, or starved us, says nothing of the children.
func TestAPauseOfOurOwnIsNoChildsSilence(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	running := process.State{Phase: process.PhaseRunning, PID: os.Getpid(), Since: begin}
	for _, tc := range []struct {
		name  string
		looks []time.Duration
		want  bool
	}{
		{"looked at in time", []time.Duration{1, 1, 1, 1}, true},
		{"a little late each time", []time.Duration{1, 1, 2, 1}, true},
		{"paused for a minute", []time.Duration{1, 60, 1}, false},
		{"paused, and then silent all the same", []time.Duration{1, 60, 1, 1, 1}, true},
	} {
		e := &engine{answered: begin, process: configs.Process{SampleTimeout: configs.Duration(3500 * time.Millisecond)}}
		now, complained := begin, false
		for _, s := range tc.looks {
			now = now.Add(s * time.Second)
			e.excuse(s * time.Second)
			complained = complained || e.complaint(now, running, 0) != ""
		}
		if complained != tc.want {
			t.Errorf("%s: complained %v", tc.name, complained)
		}
	}
}

func TestAChildThatLeaksMeetsItsLimit(t *testing.T) {
	h := newHarbour(t)
	// tail keeps what it reads until a line ends, and none ever does.
	h.apply(h.ctx, h.cfg, harbourPlan(h.child("leak", "/usr/bin/tail", "/dev/zero")))
	ev := h.awaitEvent("leak", process.EventExited, 30*time.Second)
	if ev.Exit.MaxRSS > childMemory*5/4 || ev.Exit.Asked {
		t.Errorf("it ended with %d MiB: %v", ev.Exit.MaxRSS>>20, ev.Exit)
	}
}

func TestADirectoryThatCannotBeMadeIsAProblemThatIsReported(t *testing.T) {
	h := newHarbour(t)
	c := h.child("one", "/bin/sleep", "60")
	c.Dir = "/proc/none/one"
	h.apply(h.ctx, h.cfg, harbourPlan(c))
	h.await("the problem is in the status", 5*time.Second, func() bool { return strings.Contains(h.of("one").Problem, "run directory") })
	h.await("the source is unreachable", 5*time.Second, func() bool {
		u := <-h.updates
		return len(u.Reports) == 1 && u.Reports[0].Condition == sources.Unreachable
	})
}

// flaky is an adapter that ends at once, although it should not.
type flaky struct {
	mu   sync.Mutex
	runs int
}

func (f *flaky) Run(context.Context, chan<- sources.Update) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs++
	return errors.New("socket gone")
}

func TestAnAdapterThatEndsIsStartedAgain(t *testing.T) {
	h := newHarbour(t)
	f := &flaky{}
	h.fleet.build = func(cfg *configs.Config, c Child, p Plan) *engine {
		e := h.engine(cfg, c, p)
		e.adapters = func(Child, hostClock, *slog.Logger) []adapter { return []adapter{f} }
		return e
	}
	h.apply(h.ctx, h.cfg, harbourPlan(h.child("one", "/bin/sleep", "60")))
	h.await("it ran twice", 5*time.Second, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.runs >= 2 })
}

func TestPrepareRemovesWhatIsLeftOverAndKeepsOurSockets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "chronyd")
	cc := chrony.Config{Dir: dir}
	c := Child{Name: "chronyd", Dir: dir, User: User{Name: "root"}, chrony: &cc, Files: []File{{Path: cc.ConfigFile(), Content: "port 0\n"}}}
	if err := layOut(c); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{cc.MonitorSocket(), cc.CommandSocket(), filepath.Join(dir, "chronyd.pid")} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(cc.DumpDir(), "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := prepare(c); err != nil {
		t.Fatal(err)
	}
	var left []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		left = append(left, path)
		return err
	})
	want := []string{dir, cc.ConfigFile(), cc.DumpDir(), cc.MonitorSocket()}
	slices.Sort(left)
	slices.Sort(want)
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("left: %v, want %v (%v)", left, want, err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o750, cc.DumpDir(): 0o750, cc.ConfigFile(): 0o640} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want mode %o: nobody else may look in", path, st.Mode(), err, mode)
		}
	}
}

func TestParseUsage(t *testing.T) {
	const fields = " 1 1 1 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 1"
	for _, tc := range []struct {
		name, stat string
		want       usage
		ok         bool
	}{
		{"running", "12 (ptp4l) S" + fields, usage{cpu: 2 * time.Second}, true},
		{"a name that looks like fields", "12 (a) T 1 (b) R" + fields, usage{runnable: true, cpu: 2 * time.Second}, true},
		{"stopped", "12 (ptp4l) T" + fields, usage{stopped: true, cpu: 2 * time.Second}, true},
		{"traced", "12 (ptp4l) t" + fields, usage{stopped: true, cpu: 2 * time.Second}, true},
		{"cut", "12 (ptp4l) S 1 1", usage{}, false},
		{"no figures", "12 (ptp4l) S" + strings.ReplaceAll(fields, "50", "x"), usage{}, false},
		{"empty", "", usage{}, false},
	} {
		if got, ok := parseUsage([]byte(tc.stat)); got != tc.want || ok != tc.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", tc.name, got, ok, tc.want, tc.ok)
		}
	}
}

func FuzzParseUsage(f *testing.F) {
	f.Add([]byte("12 (ptp4l) S 1 1 1 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frugal.Parse(t, len(data), func() {
			if u, ok := parseUsage(data); !ok && u != (usage{}) || u.cpu < 0 {
				t.Errorf("%q: %+v, %v", data, u, ok)
			}
		})
	})
}
