package faults

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clockarbiter/integration/namespaces"
	"clockarbiter/supervisor/checkpoint"
	"clockarbiter/supervisor/state"
)

var kills = flag.Int("faults.kills", 10, "how often the supervisor is killed; 200 is the long form")

// orphanLimit is how long a child may outlive its supervisor.
const orphanLimit = 2 * time.Second

// TestSIGKILLOfTheSupervisor kills the real binary, with real children, at any moment of its life.
func TestSIGKILLOfTheSupervisor(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), lifetime)
	defer cancel()
	s := newSea(t, ctx)
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	s.rng = rand.New(rand.NewPCG(*seed, 1))
	binary := filepath.Join(s.dir, "clockarbiter")
	if out, err := exec.Command("go", "build", "-o", binary, "clockarbiter/cmd/clockarbiter").CombinedOutput(); err != nil {
		t.Fatalf("build the supervisor: %v\n%s", err, out)
	}
	file, kept := s.configuration(), filepath.Join(s.dir, "state", state.FileName)
	left := state.State{Saved: time.Now(), Boot: state.Boot(), FreqPPB: 1000, SDPPB: 100}
	if err := state.Save(kept, left); err != nil {
		t.Fatal(err)
	}
	start := func() *namespaces.Process {
		t.Helper()
		p, err := s.world.Start("clockarbiter", nil, binary, "run", "-c", file)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	s.expectContinuity(start)
	var slowest time.Duration
	seen := 0
	for n := range *kills {
		p := start()
		time.Sleep(50*time.Millisecond + time.Duration(s.rng.Int64N(int64(2*time.Second))))
		s.expectNoStep(n)
		children := childrenOf(t, p.PID())
		seen += len(children)
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		for {
			alive := survivors(t, filepath.Join(s.dir, "run"), children)
			if len(alive) == 0 {
				break
			}
			if time.Since(killed) > orphanLimit {
				t.Fatalf("kill %d: %v is alive %v after its supervisor %d died; %s", n, alive, orphanLimit, p.PID(), p.Log())
			}
			time.Sleep(10 * time.Millisecond)
		}
		slowest = max(slowest, time.Since(killed))
		if got, err := state.Load(kept); err != nil || got.FreqPPB == 0 {
			t.Fatalf("kill %d: the state is %+v, %v", n, got, err)
		}
		if _, err := checkpoint.Load(filepath.Join(s.dir, "run", checkpoint.FileName)); err != nil {
			t.Fatalf("kill %d: %v", n, err)
		}
	}
	if seen < *kills/2 {
		t.Errorf("%d children in %d runs: the supervisor was killed before it did anything", seen, *kills)
	}
	t.Logf("%d kills with %d children, the last of which was gone %v after its supervisor", *kills, seen, slowest)

	start()
	t.Logf("the next one locks after %v", s.awaitCalm(acquisition, "the last SIGKILL"))
	s.expectNoStep(*kills)
}

// expectContinuity kills a supervisor that has found its rest, and compares its clock with its successor's.
func (s *sea) expectContinuity(start func() *namespaces.Process) {
	s.t.Helper()
	p := start()
	s.t.Logf("locked after %v", s.awaitCalm(acquisition, "the start"))
	time.Sleep(settledFor)
	before := s.watchFor(lookFor)
	s.must(p.Kill())
	p = start()
	locked := s.awaitCalm(acquisition, "the first SIGKILL")
	after := s.watchFor(lookFor)
	s.expectNoStep(0)
	s.t.Logf("its successor locks after %v; true error at most %v before and %v after", locked, before, after)
	if after > max(jumpRatio*before, jumpNoise) {
		s.t.Errorf("the true error was at most %v before the kill and is %v after", before, after)
	}
	s.must(p.Kill())
}

const (
	// settledFor is how long the estimates have had before the kills: PTP is heard some 7 s after the start, and others
	// are compared with it from its 16th sample on. lookFor is how long the clock is looked at before and after them.
	settledFor, lookFor = 25 * time.Second, 10 * time.Second
	// jumpRatio is by how much more the clock may be off after the kills: software timestamps on a machine
	// that does other things too are noise, and 10 s of them are few. The figure is tested in simulated time.
	jumpRatio = 5
	// jumpNoise is what may be seen at any time: one message that waited for a processor.
	jumpNoise = 3 * time.Microsecond
)

// watchFor returns the largest true error of some time, once a source is followed.
func (s *sea) watchFor(d time.Duration) (worst time.Duration) {
	s.t.Helper()
	for begin := time.Now(); time.Since(begin) < d; time.Sleep(100 * time.Millisecond) {
		st, err := s.status()
		if err != nil {
			s.t.Fatal(err)
		}
		worst = max(worst, st.Clock.HostMinusSteeredNS.Or(0).Abs())
	}
	return worst
}

// expectNoStep looks whether a successor has stepped: the clock was locked when the first was killed, and a
// virtual one goes on as the kernel's does.
func (s *sea) expectNoStep(n int) {
	s.t.Helper()
	if st, err := s.status(); err == nil && st.Clock.Steps != 0 {
		s.t.Errorf("kill %d: the successor stepped the clock by %v: %s", n, st.Clock.LastStepNS, st.Decision.Reason)
	}
}

// survivors returns those of the children, shims on their way included, and of the processes that use the
// run directory that are alive.
func survivors(t *testing.T, dir string, children []int) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline") // empty: a zombie, or it has just ended
		ours := slices.Contains(children, pid) || strings.Contains(string(line), dir+"/")
		if ours && len(line) > 0 && syscall.Kill(pid, 0) == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
