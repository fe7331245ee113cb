package e2e

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/story"
)

// What the supervisor may cost, with 1 ptp4l, 1 chronyd and 4 sources.
const (
	memoryLimit  = 40 << 20 // bytes
	cpuLimit     = 0.02     // of one core
	steadyPeriod = 10 * time.Second
	// steadyPeriods are tried at most.
	steadyPeriods = 4
	// orphanLimit is how long a child may outlive a supervisor that was killed.
	orphanLimit = 2 * time.Second
)

// capSysTime is the capability to set the clock (linux/capability.h).
const capSysTime = 1 << 25

func TestTheSupervisorKeepsItsChildrenAndItsAppetiteInCheck(t *testing.T) {
	_, s := begin(t, story.Options{})
	waitFor(t, 20*time.Second, func() string { return allMeasured(s) })
	supervisor := s.Supervisor.PID()

	t.Run("no child can adjust the clock", func(t *testing.T) {
		if capabilities(t, supervisor)["CapEff"]&capSysTime == 0 {
			t.Log("the supervisor has no CAP_SYS_TIME here: that its children have none says little")
		}
		for _, pid := range children(t, supervisor) {
			for set, mask := range capabilities(t, pid) {
				if mask&capSysTime != 0 {
					t.Errorf("child %d (%s) has CAP_SYS_TIME in %s", pid, name(pid), set)
				}
			}
		}
	})
	t.Run("it is small and quiet", func(t *testing.T) {
		// Neighbours only add to it: the quietest period counts.
		share := math.Inf(1)
		for n := 0; n < steadyPeriods && share > cpuLimit; n++ {
			before := cpuTime(t, supervisor)
			time.Sleep(steadyPeriod)
			share = min(share, float64(cpuTime(t, supervisor)-before)/float64(steadyPeriod))
		}
		memory := residentPeak(t, supervisor)
		t.Logf("%.1f MB resident at most, %.2f %% of one core", float64(memory)/(1<<20), share*100)
		if memory > memoryLimit {
			t.Errorf("%d bytes resident, limit %d", memory, memoryLimit)
		}
		if share > cpuLimit {
			t.Errorf("%.2f %% of one core, limit %.2f %%", share*100, cpuLimit*100)
		}
	})
	t.Run("killed it leaves no child", func(t *testing.T) {
		left := children(t, supervisor)
		if err := s.Supervisor.Kill(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, orphanLimit, func() string { return alive(left) })
	})
}

// allMeasured says what is missing from: four sources are measured and both engines run.
func allMeasured(s *story.Story) string {
	status := s.Status()
	measured := 0
	for _, source := range status.Sources {
		if source.OffsetNS.Present() {
			measured++
		}
	}
	if measured < 4 || len(status.Children) < 2 {
		return fmt.Sprintf("%d sources measured, children %+v", measured, status.Children)
	}
	return ""
}

// children are all processes below pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	below := map[int][]int{}
	for _, dir := range dirs {
		child, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		if fields, err := stat(child); err == nil { // It may have ended meanwhile.
			below[fields.parent] = append(below[fields.parent], child)
		}
	}
	var all []int
	for queue := below[pid]; len(queue) > 0; queue = queue[1:] {
		all = append(all, queue[0])
		queue = append(queue, below[queue[0]]...)
	}
	if len(all) < 2 {
		t.Fatalf("the supervisor has children %v, there should be a chronyd and a ptp4l", all)
	}
	return all
}

// alive lists those of the processes that are, "" for none. A zombie is not.
func alive(pids []int) string {
	var left []string
	for _, pid := range pids {
		if fields, err := stat(pid); err == nil && fields.state != "Z" {
			left = append(left, fmt.Sprintf("%d %s (%s)", pid, name(pid), fields.state))
		}
	}
	return strings.Join(left, ", ")
}

func name(pid int) string {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(comm))
}

// processStat is what is used of proc_pid_stat(5).
type processStat struct {
	state  string
	parent int
	// user and system are clock ticks.
	user, system int64
}

func stat(pid int) (processStat, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processStat{}, err
	}
	// The name before the last parenthesis may contain anything.
	fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))
	var s processStat
	s.state = fields[0]
	var errs [3]error
	s.parent, errs[0] = strconv.Atoi(fields[1])
	s.user, errs[1] = strconv.ParseInt(fields[11], 10, 64)
	s.system, errs[2] = strconv.ParseInt(fields[12], 10, 64)
	return s, errors.Join(errs[:]...)
}

// cpuTime is the time that the process has computed. USER_HZ is 100 on every Linux architecture that Go
// runs on.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	s, err := stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(s.user+s.system) * time.Second / 100
}

// residentPeak is the largest resident set so far, in bytes.
func residentPeak(t *testing.T, pid int) int64 {
	t.Helper()
	var kilobytes int64
	if _, err := fmt.Sscanf(statusLine(t, pid, "VmHWM"), "%d kB", &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// capabilities are the process's five sets.
func capabilities(t *testing.T, pid int) map[string]uint64 {
	t.Helper()
	sets := make(map[string]uint64)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		mask, err := strconv.ParseUint(statusLine(t, pid, set), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		sets[set] = mask
	}
	return sets
}

// statusLine is the value of one line of proc_pid_status(5).
func statusLine(t *testing.T, pid int, key string) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("/proc/%d/status has no %s", pid, key)
	return ""
}
