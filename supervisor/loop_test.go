package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"gotest.tools/v3/golden"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/sources"
)

// rig is a control loop over a virtual clock, in simulated time. True UTC - L is 3 ms at the start and
// grows by 10 ppm.
type rig struct {
	*loop
	cfg     *configs.Config
	journal *memoryJournal
	virtual *clock.Virtual
	at      timescale.Instant
	start   timescale.Instant
	rng     *rand.Rand
	// lie is added to what a source measures; silent sources measure nothing.
	lie    map[sources.ID]time.Duration
	silent map[sources.ID]bool
}

const rigConfig = `
[[ntp.server]]
address = "192.0.2.1"
minpoll = 0
maxpoll = 0
[[ntp.server]]
address = "192.0.2.2"
minpoll = 0
maxpoll = 0
[[ntp.server]]
address = "192.0.2.3"
minpoll = 0
maxpoll = 0
[[ptp.interface]]
name = "veth0"
`

func newRig(t *testing.T) *rig {
	t.Helper()
	cfg := parse(t, rigConfig)
	r := &rig{
		cfg: cfg, journal: &memoryJournal{}, start: 1_790_000_000_000_000_000, rng: rand.New(rand.NewPCG(1, 2)),
		lie: map[sources.ID]time.Duration{}, silent: map[sources.ID]bool{},
	}
	r.at = r.start
	now := func() timescale.Instant { return r.at }
	r.virtual = clock.NewVirtual(now, -12*time.Millisecond, 40_000)
	plan := NewPlan(cfg, hostFacts())
	r.loop = &loop{
		plan: plan, roster: roster.New(plan.roster()), interval: cfg.Clock.Interval.Std(), now: now,
		arbiter: arbiter.New(arbiterConfig(cfg)),
		discipline: clock.NewDiscipline(r.virtual, clock.DisciplineOptions{
			Interval: cfg.Clock.Interval.Std(), MaxSlewPPM: cfg.Clock.MaxSlewPPM, MaxFrequencyPPM: cfg.Clock.MaxFrequencyPPM,
		}),
		record: recorder{journal: r.journal, log: discard(), boot: "test"}, log: discard(),
		children: func() []ChildStatus { return nil },
		ticked:   func(Status) {},
		own:      newOwnership(cfg.Clock, recorder{journal: r.journal, log: discard(), boot: "test"}, r.virtual),
	}
	return r
}

func (r *rig) truth() time.Duration {
	return 3*time.Millisecond + time.Duration(float64(r.at.Sub(r.start))*10e-6)
}

func (r *rig) trueError() time.Duration { return r.truth() - r.virtual.At(r.at) }

// run advances by d: a tick per interval, a sample of each source per second.
func (r *rig) run(d time.Duration) {
	for end := r.at.Add(d); r.at < end; r.at = r.at.Add(r.interval) {
		if r.at.Sub(r.start)%time.Second == 0 {
			r.measure()
		}
		r.tick(time.Now())
	}
}

func (r *rig) measure() {
	var u sources.Update
	for _, p := range r.plan.Sources {
		jitter, delay := 5*time.Microsecond, 200*time.Microsecond
		if p.Kind == sources.PTP {
			jitter, delay = 200*time.Nanosecond, 20*time.Microsecond
		}
		if r.silent[p.ID] {
			u.Reports = append(u.Reports, sources.Report{Source: p.ID, At: r.at, Condition: sources.Unreachable, Detail: "silent"})
			continue
		}
		u.Reports = append(u.Reports, sources.Report{Source: p.ID, At: r.at, Condition: sources.Measuring})
		u.Samples = append(u.Samples, sources.Sample{
			Source: p.ID, At: r.at, Delay: sources.Some(delay), Dispersion: 100 * time.Nanosecond,
			Offset: r.truth() + r.lie[p.ID] + time.Duration(r.rng.NormFloat64()*float64(jitter)),
		})
	}
	r.take(u)
}

func (r *rig) expect(t *testing.T, mode string, selected sources.ID, limit time.Duration) {
	t.Helper()
	st, _ := r.snapshot()
	if st.Mode != mode || st.Selected.Or("") != selected || r.trueError().Abs() > limit {
		t.Errorf("after %s: mode %s, selected %s, true error %s; want %s, %s, at most %s\nwhy: %s",
			r.at.Sub(r.start), st.Mode, st.Selected, r.trueError(), mode, selected, limit, st.Decision.Reason)
	}
}

func TestLoopStepsOnceLocksFailsOverAndReturns(t *testing.T) {
	r := newRig(t)
	r.run(25 * time.Second)
	r.expect(t, "locked", "ptp:veth0:0", 5*time.Microsecond)
	st, _ := r.snapshot()
	if st.Clock.Steps != 1 {
		t.Errorf("%d steps, want 1: 15 ms at the start", st.Clock.Steps)
	}
	if steps := r.journal.messages(MessageStepped); len(steps) != 1 {
		t.Errorf("journal has %d steps: %v", len(steps), steps)
	}

	r.silent["ptp:veth0:0"] = true
	r.run(10 * time.Second)
	if st, _ := r.snapshot(); st.Selected.Or("") == "ptp:veth0:0" || st.Mode != "locked" || r.trueError().Abs() > 50*time.Microsecond {
		t.Errorf("10 s after the death of PTP: mode %s, selected %s, true error %s", st.Mode, st.Selected, r.trueError())
	}

	r.silent["ptp:veth0:0"] = false
	r.run(40 * time.Second)
	r.expect(t, "locked", "ptp:veth0:0", 5*time.Microsecond)

	before := r.trueError()
	r.lie["ntp:192.0.2.2"] = 15 * time.Millisecond
	r.run(20 * time.Second)
	r.expect(t, "locked", "ptp:veth0:0", 5*time.Microsecond)
	if moved := (r.trueError() - before).Abs(); moved > 20*time.Microsecond {
		t.Errorf("a lie of 15 ms moved the clock by %s", moved)
	}
	if faults := r.journal.messages(MessageFaultRaised); !contains(faults, "falseticker of ntp:192.0.2.2") {
		t.Errorf("the liar is not named: %v", faults)
	}
}

// TestASourceThatBeginsToMeasureIsDecidedAboutAtOnce: the tick comes before its time, once.
func TestASourceThatBeginsToMeasureIsDecidedAboutAtOnce(t *testing.T) {
	r := newRig(t)
	updates, ticks := make(chan sources.Update), make(chan Status, 10)
	r.interval, r.updates = time.Hour, updates
	r.ticked = func(s Status) { ticks <- s }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.loop.run(ctx) }()

	const ptp = sources.ID("ptp:veth0:0")
	tell := func(c sources.Condition, samples ...sources.Sample) {
		updates <- sources.Update{Reports: []sources.Report{{Source: ptp, At: r.at, Condition: c}}, Samples: samples}
	}
	sample := func(n int) sources.Sample {
		return sources.Sample{Source: ptp, At: r.at.Add(time.Duration(n) * time.Millisecond), Delay: sources.Some(time.Microsecond)}
	}
	tell(sources.Unsynchronised)
	tell(sources.Measuring, sample(1), sample(2))
	tell(sources.Measuring, sample(3))
	tell(sources.Unsynchronised)
	tell(sources.Measuring)
	select {
	case s := <-ticks:
		if i := slices.IndexFunc(s.Sources, func(s SourceStatus) bool { return s.ID == ptp }); i < 0 || s.Sources[i].Samples != 2 {
			t.Errorf("decided on %+v, want two samples", s.Sources)
		}
	case <-time.After(time.Minute):
		t.Fatal("no tick before its time")
	}
	cancel()
	<-ended
	if len(ticks) != 0 {
		t.Errorf("%d ticks more, with an interval of an hour", len(ticks))
	}
	if late := r.state.late.total; late != 0 {
		t.Errorf("%d ticks count as late or in time", late)
	}
}

func TestLoopHoldsOverWithoutAnySource(t *testing.T) {
	r := newRig(t)
	r.run(30 * time.Second)
	for _, p := range r.plan.Sources {
		r.silent[p.ID] = true
	}
	r.run(5 * time.Minute)
	r.expect(t, "holdover", "", 100*time.Microsecond)
	st, _ := r.snapshot()
	bound, ok := st.Clock.BoundNS.Get()
	if !ok || bound < r.trueError().Abs() {
		t.Errorf("bound %s does not contain the true error %s", st.Clock.BoundNS, r.trueError())
	}
}

func TestLoopJournalsTransitionsOnceAndSteadyStateNever(t *testing.T) {
	r := newRig(t)
	r.run(40 * time.Second)
	n := len(r.journal.entries)
	r.run(2 * time.Minute)
	for _, e := range r.journal.entries[n:] {
		t.Errorf("entry in steady state: %s", e.Message)
	}
	for _, e := range r.journal.entries {
		for _, key := range []string{"EVENT", "REASON", "DECISION_ID", "MODE", "RULE"} {
			if e.Fields[key] == "" {
				t.Errorf("entry without %s: %s", key, e.Message)
			}
		}
	}
}

func TestSameInputsSameDecisions(t *testing.T) {
	story := func() string {
		r := newRig(t)
		r.run(20 * time.Second)
		r.lie["ntp:192.0.2.1"] = time.Millisecond
		r.run(20 * time.Second)
		text, err := json.Marshal(r.journal.entries)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if a, b := story(), story(); a != b {
		t.Error("two runs of one story differ")
	}
}

// brokenKernel refuses every write.
type brokenKernel struct{ *clock.Virtual }

var errRefused = errors.New("operation not permitted")

func (brokenKernel) Apply(clock.Command) error { return errRefused }

func TestARefusedWriteIsReportedOnceAndShownInStatus(t *testing.T) {
	r := newRig(t)
	r.discipline = clock.NewDiscipline(brokenKernel{r.virtual}, clock.DisciplineOptions{Interval: r.interval, MaxSlewPPM: 400, MaxFrequencyPPM: 500})
	r.run(10 * time.Second)
	if got := r.journal.messages(MessageWriterError); len(got) != 1 || !contains(got, errRefused.Error()) {
		t.Errorf("writer errors in the journal: %v, want one", got)
	}
	if st, _ := r.snapshot(); st.Clock.LastError == "" {
		t.Error("status does not show the refused write")
	}
}

// figures are what a better estimator changes and the entries' wording does not.
var figures = regexp.MustCompile(`-?\d+(\.\d+)?(ns|µs|ms|s)\b`)

func TestEntriesForPeople(t *testing.T) {
	r := newRig(t)
	r.run(20 * time.Second)
	r.silent["ptp:veth0:0"] = true
	r.run(10 * time.Second)
	r.lie["ntp:192.0.2.3"] = -15 * time.Millisecond
	r.run(10 * time.Second)
	var text string
	for _, e := range r.journal.entries {
		text += fmt.Sprintf("%d %s\n", e.Priority, e.Message)
	}
	golden.Assert(t, figures.ReplaceAllString(text, "#$2"), "entries.txt")
}
