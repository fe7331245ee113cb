package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
	"clockarbiter/supervisor/state"
)

// memory is a state file as the rig's supervisors keep it.
func (r *rig) memory(path string) *continuity {
	return &continuity{path: path, boot: "boot", record: r.record, log: discard(), now: func() time.Time { return r.at.Near() }}
}

// kill is SIGKILL, and after gap a new supervisor that knows nothing but the state file. The clock has
// gone on without anybody at whatever frequency was in force.
func (r *rig) kill(gap time.Duration, memory *continuity) {
	r.at = r.at.Add(gap)
	old := r.loop
	r.loop = &loop{
		plan: old.plan, roster: roster.New(old.plan.roster()), interval: old.interval, now: old.now,
		arbiter:    arbiter.New(arbiterConfig(r.cfg)),
		discipline: clock.NewDiscipline(r.virtual, clock.DisciplineOptions{Interval: old.interval, MaxSlewPPM: 400, MaxFrequencyPPM: 500}),
		record:     old.record, log: old.log, children: old.children, ticked: old.ticked, decided: memory.note,
	}
	r.resume(memory.load())
}

// worst advances by d and returns the largest true error on the way, and how long it took to be locked.
func (r *rig) worst(d time.Duration) (worst, locked time.Duration) {
	locked = -1
	for passed := time.Duration(0); passed < d; passed += r.interval {
		r.run(r.interval)
		worst = max(worst, r.trueError().Abs())
		if st, _ := r.snapshot(); st.Mode == "locked" && locked < 0 {
			locked = passed + r.interval
		}
	}
	return worst, locked
}

func TestAfterSIGKILLTheSuccessorTakesOverWithoutAStepOrAJump(t *testing.T) {
	ptp := sources.ID("ptp:veth0:0")
	for _, tc := range []struct {
		name   string
		silent []sources.ID
		// noise is the spread of one sample: the successor has four of them when it begins to steer.
		noise time.Duration
	}{{"with PTP", nil, 200 * time.Nanosecond}, {"with NTP alone", []sources.ID{ptp}, 5 * time.Microsecond}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			memory := r.memory(filepath.Join(t.TempDir(), "state"))
			r.decided = memory.note
			for _, id := range tc.silent {
				r.silent[id] = true
			}
			r.run(3 * time.Minute)
			steady, _ := r.worst(time.Minute)
			for n := range 20 {
				memory.save()
				before := r.state.clock.Steps
				r.kill(time.Duration(1+n)*250*time.Millisecond, memory)
				worst, locked := r.worst(2 * time.Minute)
				if r.state.clock.Steps != 0 {
					t.Errorf("restart %d: %d steps after %d", n, r.state.clock.Steps, before)
				}
				if locked < 0 || locked > 5*time.Second {
					t.Errorf("restart %d: locked after %v, want 5 s at most", n, locked)
				}
				if limit := 3 * (steady + tc.noise); worst > limit {
					t.Errorf("restart %d: the clock was off by up to %v, limit %v, steady is %v", n, worst, limit, steady)
				}
			}
		})
	}
}

func TestAKilledSupervisorsSlewEndsWithItsSuccessorsFirstTicks(t *testing.T) {
	r := newRig(t)
	memory := r.memory(filepath.Join(t.TempDir(), "state"))
	r.decided = memory.note
	r.run(2 * time.Minute)
	memory.save()
	for _, p := range r.plan.Sources {
		r.silent[p.ID] = true // the successor hears nothing for a while
	}
	reading, err := r.virtual.Read()
	if err != nil {
		t.Fatal(err)
	}
	const slew = 400_000 // ppb
	if err := r.virtual.Apply(clock.Command{FreqPPB: sources.Some(reading.FreqPPB + slew), Synchronised: true}); err != nil {
		t.Fatal(err)
	}
	r.kill(0, memory)
	r.run(10 * time.Second)
	if e := r.trueError().Abs(); e > time.Millisecond {
		t.Errorf("10 s after its predecessor died in a slew of 400 ppm the clock is off by %v", e)
	}
}

func TestTheStateOfAnEarlierRunIsUsedOrSaysWhyNot(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), "kept", "state")
	memory := r.memory(path)
	if memory.load().rate.Present() || len(r.journal.entries) != 0 {
		t.Errorf("the first start finds something to say: %v", r.journal.entries)
	}
	good := state.State{Saved: r.at.Near(), Boot: "boot", FreqPPB: 10_000, SDPPB: 100}
	save := func(s state.State) {
		t.Helper()
		if err := state.Save(path, s); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		spoil  func()
		used   bool
		reason string
	}{
		{"a good one", func() {}, true, "rate +10.000 ppm, good to 0.100 ppm"},
		{"nonsense", func() { _ = os.WriteFile(path, []byte("nonsense"), 0o600) }, false, "not a clockarbiter-state file"},
		{"writable by all", func() { _ = os.Chmod(path, 0o666) }, false, "can be written by others"},
		{"of long ago", func() { s := good; s.Saved = s.Saved.AddDate(-1, 0, 0); save(s) }, false, "its rate is not used, it was saved at"},
	} {
		save(good)
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		tc.spoil()
		rate := memory.load().rate
		if got := r.journal.messages(MessageState); rate.Present() != tc.used || !strings.Contains(got[len(got)-1], tc.reason) {
			t.Errorf("%s: used %v: %q; want %v, %q", tc.name, rate.Present(), got, tc.used, tc.reason)
		}
	}
}

func TestBiasesOutliveARestart(t *testing.T) {
	const bias = 40 * time.Microsecond
	ptp := sources.ID("ptp:veth0:0")
	r := newRig(t)
	memory := r.memory(filepath.Join(t.TempDir(), "state"))
	r.decided = memory.note
	for _, p := range r.plan.Sources {
		if p.ID != ptp {
			r.lie[p.ID] = bias // as a path does whose way there is longer than the way back
		}
	}
	r.run(5 * time.Minute)
	memory.save()
	r.silent[ptp] = true
	r.kill(time.Second, memory)
	r.run(time.Minute)
	if e := r.trueError().Abs(); e > bias/4 {
		t.Errorf("a minute after the restart the clock is off by %v, the bias is %v", e, bias)
	}
	st, _ := r.snapshot()
	for _, s := range st.Sources {
		if s.ID != ptp && ((s.BiasNS.Or(0)-bias).Abs() > bias/4 || s.BiasAgeNS.Or(0) < 50*time.Second) {
			t.Errorf("%s: bias %v of %v ago in status", s.ID, s.BiasNS, s.BiasAgeNS)
		}
	}
	if got := r.journal.messages(MessageState); !contains(got, "biases of 3 source(s)") {
		t.Errorf("journal %v", got)
	}
}

func TestABiasThatTheFileRefusesCostsNoOther(t *testing.T) {
	learnt := timescale.Instant(time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	got := keptBiases([]arbiter.Bias{
		{ID: "ptp:a", Reference: "a\nb", Offset: 1, SD: 1, Learnt: learnt}, {ID: "ntp:b", Offset: time.Minute, SD: 1, Learnt: learnt},
		{ID: "ntp:c", Offset: 1, SD: 1, Learnt: learnt},
	})
	if len(got) != 1 || got[0].ID != "ntp:c" {
		t.Errorf("kept %+v", got)
	}
}

func TestOnlyAGoodRateIsSavedAndADiskThatIsFullIsNoMisfortune(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), "state")
	memory := r.memory(path)
	memory.note(arbiter.Decision{Mode: arbiter.Locked}, inheritance{})
	memory.note(arbiter.Decision{Mode: arbiter.Holdover, Target: sources.Some(sources.Estimate{FreqSDPPB: 10})}, inheritance{})
	memory.note(arbiter.Decision{Mode: arbiter.Locked, Target: sources.Some(sources.Estimate{FreqSDPPB: 1e6})}, inheritance{})
	memory.save()
	if _, err := os.Stat(path); err == nil {
		t.Error("a rate that is worth nothing was saved")
	}
	good := arbiter.Decision{Mode: arbiter.Locked, At: r.at, Target: sources.Some(sources.Estimate{FreqPPB: 7, FreqSDPPB: 10})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	memory.note(good, inheritance{})
	memory.run(ctx)
	if s, err := state.Load(path); err != nil || s.FreqPPB != 7 {
		t.Errorf("at the end: %+v, %v", s, err)
	}
	memory.path = "/proc/none/state"
	for range 2 {
		memory.note(good, inheritance{})
		memory.save()
	}
	if memory.failed == "" {
		t.Error("a state that cannot be saved is not reported")
	}
}

func TestTheRateOfAnEarlierRunIsForgottenInTime(t *testing.T) {
	r := newRig(t)
	r.resume(inheritance{rate: sources.Some(sources.Rate{FreqPPB: 10_000, SDPPB: 100})})
	for _, p := range r.plan.Sources {
		r.silent[p.ID] = true
	}
	r.run(expectFor + time.Minute)
	late := sources.ID("ntp:192.0.2.1")
	r.silent[late] = false
	r.run(time.Second)
	s, _ := r.roster.Find(late)
	if e, ok := s.Tracker.Estimate(r.at); !ok || e.FreqSDPPB < 10_000 {
		t.Errorf("a source that came late starts with a rate good to %.0f ppb (%v)", e.FreqSDPPB, ok)
	}
}
