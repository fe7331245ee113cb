package faults

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clockarbiter/configs"
	"clockarbiter/integration/namespaces"
	"clockarbiter/supervisor"
	"clockarbiter/supervisor/process"
)

var (
	seed     = flag.Uint64("faults.seed", 1, "seed of the choice of faults; 0: another one each time")
	duration = flag.Duration("faults.for", time.Minute, "how long the storm lasts")
)

const (
	// recovery is how long after the end of a fault the mode may take to be right again.
	recovery = 10 * time.Second
	// acquisition is what the first lock may take.
	acquisition = 30 * time.Second
	// wholeAgain is what everything may take to run again: a socket that is gone shows only as silence,
	// and a source has to settle, for 64 samples where it was lost often.
	wholeAgain = 2 * time.Minute
	// calmError is what the true error may be once a fault is over, stormError at any time after the
	// first lock: the widest holdover of these tests takes seconds.
	calmError, stormError = 200 * time.Microsecond, time.Millisecond
	// answer is what a status may take: what else the machine does can stop everything for a second.
	answer   = 5 * time.Second
	lifetime = 45 * time.Minute
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == process.ShimArgument {
		fmt.Fprintln(os.Stderr, process.RunShim(os.Args[2:]))
		syscall.Exit(127)
	}
	os.Exit(namespaces.Run(lifetime, m.Run))
}

// sea is a world with a supervisor in this very process, so that its goroutines and descriptors can be
// counted and the race detector watches.
type sea struct {
	t       *testing.T
	world   *namespaces.World
	gm      *namespaces.Grandmaster
	servers []*namespaces.NTPServer
	dir     string
	socket  string
	rng     *rand.Rand
}

const seaConfig = `
[clock]
driver = "virtual"
foreign_attempts = 100
foreign_quiet = "1s"
[clock.virtual]
initial_offset = "5ms"
frequency_error_ppm = 20.0
stranger = "%[1]s/run/stranger.sock"
[record]
enabled = true
dir = "%[1]s/recordings"
max_size_mib = 1
keep = 4
[paths]
run_dir = "%[1]s/run"
state_dir = "%[1]s/state"
[process]
sample_timeout = "3s"
backoff_min = "200ms"
backoff_max = "1s"
grace = "500ms"
[ptp]
ptp4l = %[2]q
[[ptp.interface]]
name = %[3]q
timestamping = "software"
[ntp]
chronyd = %[4]q
`

func newSea(t *testing.T, ctx context.Context) *sea {
	t.Helper()
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
	s := &sea{t: t, world: w}
	if s.gm, err = w.AddGrandmaster("gm", namespaces.GrandmasterOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		server, err := w.AddNTPServer(fmt.Sprintf("ntp%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		s.servers = append(s.servers, server)
	}
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if s.dir, err = w.Dir("clockarbiter"); err != nil {
		t.Fatal(err)
	}
	s.socket = filepath.Join(s.dir, "run", "status.sock")
	return s
}

// configuration is written to a file, whose path is returned.
func (s *sea) configuration() string {
	s.t.Helper()
	tools := map[string]string{}
	for _, name := range []string{"ptp4l", "chronyd"} {
		path, err := s.world.Tool(name)
		if err != nil {
			s.t.Fatal(err)
		}
		tools[name] = path
	}
	text := fmt.Sprintf(seaConfig, s.dir, tools["ptp4l"], s.gm.Interface(), tools["chronyd"])
	for _, server := range s.servers {
		text += fmt.Sprintf("[[ntp.server]]\naddress = %q\nminpoll = 0\nmaxpoll = 0\niburst = true\n", server.Address())
	}
	file := filepath.Join(s.dir, "clockarbiter.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// supervise runs the supervisor until stop is called.
func (s *sea) supervise(ctx context.Context) (stop func()) {
	s.t.Helper()
	cfg, err := configs.Load(s.configuration())
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(log, nil))
	sup, err := supervisor.New(cfg, supervisor.Options{Log: logger, Journal: supervisor.LogJournal{Log: logger}})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	doneC := make(chan error, 1)
	go func() { doneC <- sup.Run(ctx, supervisor.NewPlan(cfg, supervisor.Probe(ctx, cfg))) }()
	return func() {
		cancel()
		select {
		case err := <-doneC:
			if err != nil {
				s.t.Error(err)
			}
		case <-time.After(15 * time.Second):
			s.t.Error("the supervisor has not ended within 15 s")
		}
		log.Close()
		if s.t.Failed() {
			s.t.Log(tail(filepath.Join(s.dir, "log"), 60))
		}
	}
}

func tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (s *sea) status() (supervisor.Status, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), answer)
	defer cancel()
	return supervisor.ReadStatus(ctx, s.socket)
}

// wrong says what is not as it has to be in calm weather, "" when all is. A storm loses the same sources
// again and again, so that they settle for up to 64 samples each time: until then the right mode is
// holdover, with a bound that holds.
func wrong(st supervisor.Status, err error) string {
	if err != nil {
		return err.Error()
	}
	trueError, ok := st.Clock.HostMinusSteeredNS.Get()
	bound, bounded := st.Clock.BoundNS.Get()
	waiting := st.Mode == "holdover" && st.Decision.Rule == "settling"
	switch {
	case waiting && (!bounded || trueError.Abs() > bound):
		return fmt.Sprintf("holdover with a true error of %v, bound %v", trueError, bound)
	case !waiting && (st.Mode != "locked" || !st.Selected.Present()):
		return fmt.Sprintf("mode %s, selected %s: %s", st.Mode, st.Selected, st.Decision.Reason)
	case !ok || trueError.Abs() > calmError:
		return fmt.Sprintf("the true error is %v", trueError)
	case st.AgeNS > 2*time.Second:
		return fmt.Sprintf("the status is %v old", st.AgeNS)
	}
	return ""
}

// awaitCalm waits until all is right and returns how long that took.
func (s *sea) awaitCalm(limit time.Duration, after string) time.Duration {
	s.t.Helper()
	begin := time.Now()
	for {
		st, err := s.status()
		what := wrong(st, err)
		if what == "" {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			s.t.Fatalf("%v after %s: %s\nsources %+v\nchildren %+v", limit, after, what, st.Sources, st.Children)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// census counts what could leak.
type census struct{ goroutines, descriptors, children int }

func takeCensus(t *testing.T) census {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return census{goroutines: runtime.NumGoroutine(), descriptors: len(fds), children: len(childrenOf(t, os.Getpid()))}
}

// childrenOf returns the processes whose parent is pid, zombies included.
func childrenOf(t *testing.T, pid int) (children []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, _ := os.ReadFile("/proc/" + e.Name() + "/stat") // it may have just ended
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			children = append(children, child)
		}
	}
	return children
}

func TestStorm(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with: go test ./integration/faults -run TestStorm -args -faults.seed=%d -faults.for=%v", *seed, *duration)
	ctx, cancel := context.WithTimeout(t.Context(), *duration+3*time.Minute)
	defer cancel()
	s := newSea(t, ctx)
	s.rng = rand.New(rand.NewPCG(*seed, 0))
	s.smallDisk()
	stop := s.supervise(ctx)
	defer stop()
	t.Logf("locked after %v", s.awaitCalm(acquisition, "the start"))
	time.Sleep(3 * time.Second)
	before := takeCensus(t)

	stopIdling := idle(250 * time.Millisecond) // clock.interval
	count, slowest := map[string]int{}, time.Duration(0)
	stopWatching := s.watchError(ctx)
	for begin := time.Now(); time.Since(begin) < *duration; {
		f := faults[s.rng.IntN(len(faults))]
		count[f.name]++
		f.strike(s)
		took := s.awaitCalm(recovery, f.name)
		slowest = max(slowest, took)
	}
	s.awaitWhole()
	worst := stopWatching()
	t.Logf("faults %v; mode right again after %v at most; true error at most %v", count, slowest.Round(time.Millisecond), worst)
	if worst > stormError {
		t.Errorf("the true error reached %v, limit %v", worst, stormError)
	}
	s.expectNoLeak(before)
	st, err := s.status()
	late, ticks := stopIdling()
	t.Logf("control loop: %d ticks, %d late, the worst by %v, p99 %v; an idle loop beside it: %d, %d",
		st.Loop.Ticks, st.Loop.LateTicks, st.Loop.WorstLatenessNS, st.Loop.LatenessP99NS, ticks, late)
	// What a machine that does other things too does to a loop that does nothing is nobody's fault.
	if is, was := share(st.Loop.LateTicks, st.Loop.Ticks), share(late, ticks); err != nil || is > 0.01+1.5*was {
		t.Errorf("%.1f %% of the ticks came more than a period late, of an idle loop beside it %.1f %% (%v)", 100*is, 100*was, err)
	}
}

func share(part, whole uint64) float64 { return float64(part) / float64(max(1, whole)) }

// idle counts, until stop is called, the ticks of a loop that does nothing, and those that came more than a
// period late.
func idle(period time.Duration) (stop func() (late, ticks uint64)) {
	quitC, doneC := make(chan struct{}), make(chan struct{})
	var late, ticks uint64
	go func() {
		defer close(doneC)
		tick := time.NewTicker(period)
		defer tick.Stop()
		next := time.Now().Add(period)
		for {
			select {
			case <-quitC:
				return
			case at := <-tick.C:
				if ticks++; time.Since(next) > period {
					late++
				}
				next = at.Add(period)
			}
		}
	}()
	return func() (uint64, uint64) { close(quitC); <-doneC; return late, ticks }
}

// awaitWhole waits until every child runs and every source measures again: a fail-over is right, but it
// is not the end.
func (s *sea) awaitWhole() {
	s.t.Helper()
	missing := ""
	for begin := time.Now(); time.Since(begin) < wholeAgain; time.Sleep(200 * time.Millisecond) {
		st, err := s.status()
		if missing = incomplete(st, err); missing == "" {
			s.t.Logf("whole again after %v", time.Since(begin).Round(time.Millisecond))
			return
		}
	}
	s.t.Errorf("%v after the last fault: %s", wholeAgain, missing)
}

// incomplete says what is missing, "" when nothing is.
func incomplete(st supervisor.Status, err error) string {
	if err != nil {
		return err.Error()
	}
	for _, c := range st.Children {
		if c.Phase != "running" {
			return fmt.Sprintf("%s is %s: %s", c.Name, c.Phase, c.Problem)
		}
	}
	for _, source := range st.Sources {
		if source.Mark != "*" && source.Mark != "+" {
			return fmt.Sprintf("%s is %s: %s (%s)", source.ID, source.State, source.Reason, source.Detail)
		}
	}
	return ""
}

// watchError watches the true error until stop is called, which returns the largest.
func (s *sea) watchError(ctx context.Context) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	worstC := make(chan time.Duration, 1)
	go func() {
		var worst time.Duration
		for ctx.Err() == nil {
			if st, err := s.status(); err == nil {
				worst = max(worst, st.Clock.HostMinusSteeredNS.Or(0).Abs())
			}
			time.Sleep(250 * time.Millisecond)
		}
		worstC <- worst
	}()
	return func() time.Duration { cancel(); return <-worstC }
}

// expectNoLeak waits for what is on its way out and compares.
func (s *sea) expectNoLeak(before census) {
	s.t.Helper()
	const slack = 3 // a client that is being answered, a child that is being replaced
	var now census
	for range 50 {
		now = takeCensus(s.t)
		if now.goroutines <= before.goroutines+slack && now.descriptors <= before.descriptors+slack && now.children <= before.children {
			s.t.Logf("before %+v, after %+v", before, now)
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	s.t.Errorf("leaked: before %+v, after %+v\n%s", before, now, stacks[:runtime.Stack(stacks, true)])
}

// pids of the supervisor's children by name prefix; none while it does not run.
func (s *sea) pid(prefix string) int {
	st, err := s.status()
	if err != nil {
		return 0
	}
	i := slices.IndexFunc(st.Children, func(c supervisor.ChildStatus) bool { return strings.HasPrefix(c.Name, prefix) })
	if i < 0 {
		return 0
	}
	return st.Children[i].PID
}

// addresses of the NTP servers.
func (s *sea) addresses() (list []netip.Addr) {
	for _, server := range s.servers {
		list = append(list, server.Address())
	}
	return list
}
