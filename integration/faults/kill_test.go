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
	var slowest time.Duration
	seen := 0
	for n := range *kills {
		p, err := s.world.Start("clockarbiter", nil, binary, "run", "-c", file)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50*time.Millisecond + time.Duration(s.rng.Int64N(int64(2*time.Second))))
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
	}
	if seen < *kills/2 {
		t.Errorf("%d children in %d runs: the supervisor was killed before it did anything", seen, *kills)
	}
	t.Logf("%d kills with %d children, the last of which was gone %v after its supervisor", *kills, seen, slowest)

	if _, err := s.world.Start("clockarbiter", nil, binary, "run", "-c", file); err != nil {
		t.Fatal(err)
	}
	t.Logf("the next one locks after %v", s.awaitCalm(acquisition, "the last SIGKILL"))
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
