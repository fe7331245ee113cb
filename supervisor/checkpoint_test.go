package supervisor

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/recording"
	"clockarbiter/sources"
	"clockarbiter/supervisor/checkpoint"
)

// world is what the rig's checkpoints are compared with: CLOCK_MONOTONIC_RAW is L, and the steered clock is
// CLOCK_REALTIME.
func (r *rig) world() checkpoint.Present {
	return checkpoint.Present{
		Boot: "boot", Program: recording.Program{Version: "test"}, Driver: "kernel",
		Raw: time.Duration(r.at), Realtime: time.Duration(r.at) + r.virtual.At(r.at),
	}
}

// leaves makes the rig's loop leave checkpoints at path.
func (r *rig) leaves(t *testing.T, path string) {
	t.Helper()
	shape, err := recording.Shape()
	if err != nil {
		t.Fatal(err)
	}
	w := r.world()
	r.checkpoints = &checkpoints{
		path: path, every: 4, good: 240, newest: make(chan *checkpoint.Checkpoint, 1), record: r.record,
		of: checkpoint.Checkpoint{Boot: w.Boot, Program: w.Program, Shape: shape, Driver: w.Driver},
	}
}

// written writes the checkpoint that waits, as its goroutine does.
func (r *rig) written() {
	select {
	case next := <-r.checkpoints.newest:
		r.checkpoints.save(next)
	default:
	}
}

// sigkill ends the loop, and after gap begins another that finds its checkpoint.
func (r *rig) sigkill(t *testing.T, gap time.Duration) {
	t.Helper()
	r.written()
	path := r.checkpoints.path
	r.at = r.at.Add(gap)
	e, why := recall(path, r.world())
	if e == nil {
		t.Fatalf("the checkpoint is not taken up: %s", why)
	}
	if err := countUse(path, e.checkpoint); err != nil {
		t.Fatal(err)
	}
	old := r.loop
	r.loop = &loop{
		plan: old.plan, roster: roster.New(old.plan.roster()), interval: old.interval, now: old.now,
		arbiter:    arbiter.New(arbiterConfig(r.cfg)),
		discipline: clock.NewDiscipline(r.virtual, clock.DisciplineOptions{Interval: old.interval, MaxSlewPPM: 400, MaxFrequencyPPM: 500}),
		record:     old.record, log: old.log, children: old.children, ticked: old.ticked,
		own: newOwnership(r.cfg.Clock, old.record, r.virtual),
	}
	r.leaves(t, path)
	r.checkpoints.of.Taken = e.checkpoint.Taken + 1
	r.continueRun(e, arbiterConfig(r.cfg))
}

func TestASuccessorGoesOnWhereItsPredecessorWasKilled(t *testing.T) {
	for _, tc := range []struct {
		name   string
		silent []sources.ID
	}{{"with PTP", nil}, {"with NTP alone", []sources.ID{"ptp:veth0:0"}}} {
		t.Run(tc.name, func(t *testing.T) {
			// The same noise with and without restarts: what is left of a difference is their doing.
			run := func(restarts int) time.Duration {
				r := newRig(t)
				r.leaves(t, filepath.Join(t.TempDir(), checkpoint.FileName))
				for _, id := range tc.silent {
					r.silent[id] = true
				}
				r.run(3 * time.Minute)
				var worst time.Duration
				for n := range 20 {
					r.written()
					if n >= restarts {
						w, _ := r.worst(time.Minute)
						worst = max(worst, w)
						continue
					}
					r.sigkill(t, time.Duration(1+n%8)*250*time.Millisecond)
					w, locked := r.worst(time.Minute)
					worst = max(worst, w)
					if r.state.clock.Steps != 0 || locked < 0 || locked > 5*time.Second {
						t.Errorf("restart %d: %d steps, locked after %v", n, r.state.clock.Steps, locked)
					}
				}
				return worst
			}
			without, with := run(0), run(20)
			t.Logf("off by at most %v with 20 restarts, %v without", with, without)
			if with > 3*without/2 {
				t.Errorf("off by at most %v with 20 restarts, %v without", with, without)
			}
		})
	}
}

func TestAContinuedRunReplaysBitForBit(t *testing.T) {
	r := newRig(t)
	r.leaves(t, filepath.Join(t.TempDir(), checkpoint.FileName))
	r.run(time.Minute)
	r.lie["ntp:192.0.2.1"] = 15 * time.Millisecond
	r.run(30 * time.Second)
	r.sigkill(t, time.Second)

	dir := filepath.Join(t.TempDir(), "recordings")
	tape, err := recording.Open(recording.Options{Dir: dir, MaxSize: 1 << 30, Keep: 2, Header: recordingHeader(r.cfg, "test", r.loop)})
	if err != nil {
		t.Fatal(err)
	}
	r.tape = tape
	go tape.Run()
	r.run(time.Minute)
	if err := tape.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := recording.Replay(openOnly(t, dir))
	if err != nil || v.Difference != nil || v.Ticks != 240 {
		t.Errorf("%+v, %v", v, err)
	}
	st, _ := r.snapshot()
	for _, s := range st.Sources {
		if s.ID == "ntp:192.0.2.1" && s.State != "falseticker" {
			t.Errorf("the liar is %s: %s", s.State, s.Reason)
		}
	}
}

func TestACheckpointIsLeftOnlyWhereThereIsSomethingToHoldOverFrom(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), checkpoint.FileName)
	r.leaves(t, path)
	r.run(time.Second)
	r.written()
	if _, err := os.Stat(path); err == nil {
		t.Error("a checkpoint of a clock that follows nothing")
	}
	r.run(time.Minute)
	r.written()
	was, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r.own.defence.stance = holding
	r.run(time.Minute)
	r.written()
	if is, err := checkpoint.Load(path); err != nil || is.At != was.At {
		t.Errorf("a checkpoint of a clock that is a stranger's: %v, %v", is, err)
	}
}

func TestAStateThatBringsItsProgramDownIsNotTakenUpForEver(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), checkpoint.FileName)
	r.leaves(t, path)
	r.run(2 * time.Minute)
	for range checkpoint.MaxTaken {
		r.sigkill(t, time.Second)
		r.run(10 * time.Second)
	}
	r.written()
	if e, why := recall(path, r.world()); e != nil || !strings.Contains(why, "taken up 5 times") {
		t.Errorf("taken up once more: %v, %q", e, why)
	}
	r.run(time.Minute)
	r.written()
	if e, why := recall(path, r.world()); e == nil {
		t.Errorf("after a good minute: %s", why)
	}
}

func TestACheckpointThatCannotBeWrittenIsReportedOnce(t *testing.T) {
	r := newRig(t)
	r.leaves(t, "/proc/none/checkpoint")
	r.run(30 * time.Second)
	next := <-r.checkpoints.newest
	for range 2 {
		r.checkpoints.save(next)
	}
	if r.checkpoints.failed == "" {
		t.Error("not reported")
	}
	if e, why := recall(filepath.Join(t.TempDir(), "none"), r.world()); e != nil || why != "" {
		t.Errorf("the first start has something to say: %q", why)
	}
}

func TestASlewThatWasLeftIsReleased(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), checkpoint.FileName)
	r.leaves(t, path)
	r.run(time.Minute)
	r.written()
	c, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	calm, err := r.virtual.Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		slewPPB float64
		want    string
		left    float64
	}{
		{"a slew", 100_000, "released", 0},
		{"none", 0, "not slewed", 0},
		{"a frequency that nobody here sets", 900_000, "which we did not set", 900_000},
	} {
		if err := r.virtual.Apply(clock.Command{FreqPPB: sources.Some(calm.FreqPPB + tc.slewPPB), Synchronised: true, MaxError: time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		did, err := release(r.virtual, c)
		now, _ := r.virtual.Read()
		if err != nil || !strings.Contains(did, tc.want) || math.Abs(now.FreqPPB-calm.FreqPPB-tc.left) > 50 || !now.Synchronised || now.MaxError > 2*time.Millisecond {
			t.Errorf("%s: %q, %v; frequency %+.1f ppb from where it was, %+v", tc.name, did, err, now.FreqPPB-calm.FreqPPB, now)
		}
	}
	if err := r.virtual.Apply(clock.Command{FreqPPB: sources.Some(calm.FreqPPB + 100_000)}); err != nil {
		t.Fatal(err)
	}
	if _, err := release(brokenKernel{r.virtual}, c); err == nil {
		t.Error("a refused write is no error")
	}
	c.Servo.RatePPB = sources.None[float64]()
	if did, err := release(r.virtual, c); err != nil || !strings.Contains(did, "no target") {
		t.Errorf("without a target: %q, %v", did, err)
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	r := newRig(&testing.T{})
	r.run(2 * time.Minute)
	d, t := arbiter.Decision{Target: sources.Some(sources.Estimate{})}, clock.TickReport{}
	r.checkpoints = &checkpoints{every: 1, good: 240, newest: make(chan *checkpoint.Checkpoint, 1), record: r.record}
	for b.Loop() {
		r.checkpoints.note(r.loop, d, t)
	}
	next := <-r.checkpoints.newest
	data, err := next.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(data)), "bytes")
}

// A supervisor of today continues the run that another left, on the same L and with the same virtual clock.
func TestASupervisorContinuesTheRunBeforeIt(t *testing.T) {
	w := runWhole(t, "virtual")
	within(t, 20*time.Second, "ready", func() bool { return w.notified("READY=1") })
	if err := w.end(t); err != nil {
		t.Fatal(err)
	}
	// What follows no source leaves nothing. So this one is left by hand: an arbiter that follows one.
	path := filepath.Join(w.dir, "run", checkpoint.FileName)
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a checkpoint of a clock that follows nothing")
	}
	leave := func(change func(*checkpoint.Checkpoint)) {
		t.Helper()
		r := newRig(t)
		r.run(time.Minute)
		c := w.newCheckpoints(clock.NewVirtual(w.host.Now, 0, 0)).of
		state := clock.NewVirtual(w.host.Now, time.Hour, 0).State()
		c.At, c.Virtual, c.State = w.host.Now(), &state, recording.NewKeyframe(r.arbiter, r.roster, 0)
		c.Servo, _ = r.discipline.Memory()
		change(&c)
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*checkpoint.Checkpoint)
		said   string
		clock  bool // goes on
	}{
		{"continued", func(*checkpoint.Checkpoint) {}, "Continues the run that ended", true},
		{"the clock alone", func(c *checkpoint.Checkpoint) { c.Taken = checkpoint.MaxTaken }, "is not continued: it was taken up", true},
		{"of another program", func(c *checkpoint.Checkpoint) { c.Program.Version = "other" }, "is not continued: of another run", false},
		{"a clock that there is not", func(c *checkpoint.Checkpoint) { c.Virtual.Freq = 1 << 50 }, "Continues the run", false},
	} {
		leave(tc.change)
		v := w.again(t)
		within(t, 20*time.Second, tc.name+": ready", func() bool { return v.notified("READY=1") })
		within(t, 20*time.Second, tc.name+": said", func() bool { return contains(v.journal.messages(MessageState), tc.said) })
		st, err := ReadStatus(t.Context(), filepath.Join(w.dir, "run", "status.sock"))
		if off := st.Clock.HostMinusSteeredNS.Or(0); err != nil || (off.Abs() > 30*time.Minute) != tc.clock {
			t.Errorf("%s: the clock is off by %v, %v", tc.name, off, err)
		}
		if err := v.end(t); err != nil {
			t.Error(err)
		}
	}
	if c, err := checkpoint.Load(path); err != nil || c.Taken != 1 {
		t.Errorf("the use was not counted: %+v, %v", c, err)
	}
}

func TestReleaseDoesNothingWhereThereIsNothingToRelease(t *testing.T) {
	cfg := lonely(t)
	if did, err := ReleaseClock(cfg, "test"); err != nil || !strings.Contains(did, "the driver is virtual") {
		t.Errorf("virtual: %q, %v", did, err)
	}
	cfg.Clock.Driver = "kernel"
	if did, err := ReleaseClock(cfg, "test"); err != nil || !strings.Contains(did, "no supervisor left anything") {
		t.Errorf("nothing left: %q, %v", did, err)
	}
	path := filepath.Join(cfg.Paths.RunDir, checkpoint.FileName)
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReleaseClock(cfg, "test"); err == nil {
		t.Error("nonsense is no error")
	}
	unlock, err := lock(cfg.Paths.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := ReleaseClock(cfg, "test"); err == nil || !strings.Contains(err.Error(), "another clockarbiter") {
		t.Errorf("beside a supervisor: %v", err)
	}
}
