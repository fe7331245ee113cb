package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"clockarbiter/supervisor/process"
)

// stoppedFor is how long a child may be stopped by a signal before it is restarted: long enough for
// somebody who attaches a debugger and lets go at once.
const stoppedFor = 3 * time.Second

// loopShare: a silent child that used more than this part of a processor, one in so many, does not hang
// but loops, and so does one that wants to and gets no processor. A healthy one uses far less than a
// hundredth.
const loopShare = 10

// clockTick is the unit of CPU times in /proc/PID/stat: USER_HZ is 100 on every Linux (time(7)).
const clockTick = 10 * time.Millisecond

// usage is what /proc tells of a process.
type usage struct {
	// stopped: by a signal or a tracer.
	stopped bool
	// runnable: it computes, or waits for a processor and nothing else.
	runnable bool
	// cpu is the processor time that it has used.
	cpu time.Duration
}

// readUsage reads /proc/PID/stat; false when there is no such process any more.
func readUsage(pid int) (usage, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return usage{}, false
	}
	return parseUsage(text)
}

// parseUsage reads the fields after the name, which is in brackets and may contain anything (proc(5)).
func parseUsage(stat []byte) (usage, bool) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const state, utime, stime = 0, 11, 12
	if len(fields) <= stime {
		return usage{}, false
	}
	user, userErr := strconv.ParseUint(string(fields[utime]), 10, 32)
	system, systemErr := strconv.ParseUint(string(fields[stime]), 10, 32)
	if userErr != nil || systemErr != nil {
		return usage{}, false
	}
	s := string(fields[state])
	return usage{stopped: s == "T" || s == "t", runnable: s == "R", cpu: time.Duration(user+system) * clockTick}, true
}

// watch restarts a child that runs and gives no sign of life: being alive is not health.
func (e *engine) watch(ctx context.Context, runner *process.Runner) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	stopped, last := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			e.excuse(now.Sub(last))
			last = now
			state := runner.State()
			if u, ok := readUsage(state.PID); ok && state.Phase == process.PhaseRunning && u.stopped {
				stopped++
			} else {
				stopped = 0
			}
			if reason := e.complaint(now, state, stopped); reason != "" && runner.Restart(reason) {
				stopped = 0
				e.noteAnswer(now)
			}
		}
	}
}

// excuse takes note of how long it was since the last look. What exceeds the usual is time in which this
// process did not run, starved or paused with its whole machine, and heard nobody: no child's fault.
func (e *engine) excuse(since time.Duration) {
	late := since - watchEvery
	if late < watchEvery/2 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deaf += late
}

// complaint says why the child has to be restarted, "" where it need not. stopped counts how often in a
// row it was found stopped.
func (e *engine) complaint(now time.Time, s process.State, stopped int) string {
	if time.Duration(stopped)*watchEvery >= stoppedFor {
		return fmt.Sprintf("stopped by a signal or a tracer for %s", time.Duration(stopped)*watchEvery)
	}
	limit := e.process.SampleTimeout.Std()
	silence := e.silence(now, s)
	if limit == 0 || silence <= limit {
		return ""
	}
	return fmt.Sprintf("no answer for %s%s", silence.Round(time.Second), e.effort(s.PID, silence))
}

// effort tells a child that loops from one that hangs, by the processor time of its silence.
func (e *engine) effort(pid int, silence time.Duration) string {
	u, ok := readUsage(pid)
	if !ok {
		return ""
	}
	e.mu.Lock()
	used := u.cpu - e.usage.cpu
	e.mu.Unlock()
	word := "it hangs"
	if used > silence/loopShare || u.runnable {
		word = "it loops"
	}
	return fmt.Sprintf(", in which it used %s of processor time: %s", max(0, used), word)
}

// noteAnswer notes a sign of life and what the child has used until then.
func (e *engine) noteAnswer(now time.Time) {
	e.mu.Lock()
	runner := e.runner
	e.mu.Unlock()
	u, _ := readUsage(runner.State().PID) // none: it has just ended, and its successor starts at 0
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answered, e.usage, e.deaf = now, u, 0
}

// silence is how long a running child has not answered although we listened.
func (e *engine) silence(now time.Time, s process.State) time.Duration {
	if s.Phase != process.PhaseRunning {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	since := e.answered
	if s.Since.After(since) {
		since = s.Since
	}
	return now.Sub(since) - e.deaf
}
