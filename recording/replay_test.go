package recording

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/sources"
)

func TestReplayRepeatsEveryDecisionBitForBit(t *testing.T) {
	changes := map[string]bool{}
	for seed := range uint64(10) {
		file := record(t, seed, 400)
		v, err := Replay(open(t, file))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if v.Difference != nil {
			t.Fatalf("seed %d: %s differs:\n%+v\nrecorded\n%+v", seed, v.Difference.ID, v.Difference.Replayed, v.Difference.Recorded)
		}
		if v.Ticks != 400 || !v.Complete || v.Lost != 0 || v.To.Sub(v.From) != 399*250*time.Millisecond {
			t.Errorf("seed %d: %+v", seed, v)
		}
		for _, kind := range kinds(t, file) {
			changes[kind] = true
		}
		for _, name := range []string{arbiter.FaultLeap, arbiter.FaultTable} {
			changes[name] = changes[name] || raised(t, file, name)
		}
	}
	// A property over scenarios in which nothing happens would hold for nothing.
	for _, kind := range []string{"mode-changed", "selection-changed", "fault-raised", "step-ordered", "steady", arbiter.FaultLeap, arbiter.FaultTable} {
		if !changes[kind] {
			t.Errorf("no scenario has a decision of kind %s", kind)
		}
	}
}

func kinds(t *testing.T, file []byte) []string {
	t.Helper()
	var out []string
	for _, e := range entries(t, open(t, file)) {
		if e.Tick != nil && e.Tick.Decision != nil {
			out = append(out, e.Tick.Kind)
		}
	}
	return out
}

func raised(t *testing.T, file []byte, fault string) bool {
	t.Helper()
	return slices.ContainsFunc(entries(t, open(t, file)), func(e Entry) bool {
		return e.Tick != nil && e.Tick.Decision != nil && slices.ContainsFunc(e.Tick.Decision.Events, func(ev arbiter.Event) bool { return ev.To == fault })
	})
}

func TestReplayNamesTheFirstDecisionThatDiffers(t *testing.T) {
	file := rewrite(t, record(t, 1, 400), func(e *Entry) {
		if e.Tick != nil && e.Tick.Number == 300 {
			e.Tick.Input.System++ // one nanosecond
		}
	})
	v, err := Replay(open(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if v.Difference == nil || v.Difference.ID != "test-300" || v.Difference.RecordedDigest == v.Difference.ReplayedDigest {
		t.Errorf("verdict %+v, want a difference in test-300", v)
	}
}

func TestASampleThatIsOffByANanosecondIsNoticed(t *testing.T) {
	done := false
	file := rewrite(t, record(t, 1, 400), func(e *Entry) {
		if e.Update != nil && !done && e.Update.Now.Sub(start) > 10*time.Second && len(e.Update.Samples) > 0 {
			e.Update.Samples[0].Offset++
			done = true
		}
	})
	if v, err := Replay(open(t, file)); err != nil || v.Difference == nil {
		t.Errorf("verdict %+v, error %v", v, err)
	}
}

func TestAStateRestoresToTheLastField(t *testing.T) {
	s := newScenario(3, func(Entry) {})
	s.run(500)
	k := NewKeyframe(s.arbiter, s.roster, 0)
	a, r, err := k.Restore()
	if err != nil {
		t.Fatal(err)
	}
	if again := NewKeyframe(a, r, 0); again.Sum != k.Sum {
		t.Error("the state of the restored machines is another one")
	}
}

func TestADamagedStateIsRefused(t *testing.T) {
	file := rewrite(t, record(t, 1, 10), func(e *Entry) {
		if e.Keyframe != nil {
			e.Keyframe.Arbiter[0] ^= 1
		}
	})
	if _, err := Replay(open(t, file)); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error %v", err)
	}
}

func TestOtherVersions(t *testing.T) {
	h := Header{Version: "1.0", Revision: "abc"}
	for _, c := range []struct {
		name string
		p    Program
		ok   bool
	}{
		{"the same", Program{"1.0", "abc"}, true},
		{"a builder that does not tell the revision", Program{"1.0", ""}, true},
		{"another revision", Program{"1.0", "abd"}, false},
		{"another version", Program{"1.1", ""}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := h.Matches(c.p)
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrOtherProgram) {
				t.Errorf("error %v, want none: %v", err, c.ok)
			}
		})
	}
}

func TestAnotherLayoutIsRefused(t *testing.T) {
	file := rewrite(t, record(t, 1, 10), func(e *Entry) {
		if e.Header != nil {
			e.Header.Shape = "0000"
		}
	})
	if _, err := Replay(open(t, file)); !errors.Is(err, ErrOtherProgram) {
		t.Errorf("error %v, want another version", err)
	}
}

func TestWhatIfNothingIsChangedNothingDiffers(t *testing.T) {
	// Without reloads in it: the other configuration holds throughout.
	for seed := range uint64(20) {
		file := record(t, seed, 300)
		for _, e := range entries(t, open(t, file)) {
			if e.Order != nil {
				file = nil
				break
			}
		}
		if file == nil {
			continue
		}
		c, err := Compare(open(t, file), Other{Plan: testPlan(), Thresholds: arbiter.DefaultConfig()})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Spans) > 0 || c.Verdict.Difference != nil {
			t.Fatalf("seed %d: %+v", seed, c)
		}
		return
	}
	t.Fatal("every scenario has a reload")
}

func TestWhatIfASourceHasNoVote(t *testing.T) {
	file := quiet(t, 200)
	plan := testPlan()
	for i := range plan {
		if plan[i].ID == "ptp:eth0:0" {
			plan[i].Options.NoSelect = true
		}
	}
	c, err := Compare(open(t, file), Other{Plan: plan, Thresholds: arbiter.DefaultConfig()})
	if err != nil {
		t.Fatal(err)
	}
	if c.Verdict.Difference != nil || c.Verdict.Ticks != 200 {
		t.Errorf("the recorded side is not repeated: %+v", c.Verdict)
	}
	if shareOf(c.Recorded.Followed, "ptp:eth0:0") < 40*time.Second {
		t.Fatalf("the recording does not follow it: %+v", c.Recorded)
	}
	if got := shareOf(c.Other.Followed, "ptp:eth0:0"); got != 0 {
		t.Errorf("the other configuration follows it for %v", got)
	}
	if len(c.Spans) == 0 {
		t.Fatal("no span in which the two differ")
	}
	last := c.Spans[len(c.Spans)-1]
	if last.Recorded.Selected != "ptp:eth0:0" || last.Other.Selected == "ptp:eth0:0" || last.To.Sub(last.From) < 30*time.Second {
		t.Errorf("last span %+v", last)
	}
}

// A challenger that is better by a factor of three is taken with a hysteresis of two and not with one of
// ten.
func TestWhatIfTheHysteresisIsAnother(t *testing.T) {
	file := challenged(t)
	for _, c := range []struct {
		hysteresis float64
		follows    bool
	}{{2, true}, {100, false}} {
		other := Other{Plan: challengePlan(), Thresholds: challengeThresholds(c.hysteresis)}
		got, err := Compare(open(t, file), other)
		if err != nil {
			t.Fatal(err)
		}
		if (len(got.Spans) > 0) == c.follows || (shareOf(got.Other.Followed, "ntp:192.0.2.2") > 0) != c.follows {
			t.Errorf("hysteresis %v: %+v", c.hysteresis, got)
		}
		if got.Verdict.Difference != nil || shareOf(got.Recorded.Followed, "ntp:192.0.2.2") == 0 {
			t.Fatalf("the recording does not switch: %+v", got.Recorded)
		}
	}
}

func challengePlan() []roster.Planned {
	return []roster.Planned{{ID: "ntp:192.0.2.1", Kind: sources.NTP}, {ID: "ntp:192.0.2.2", Kind: sources.NTP}}
}

func challengeThresholds(hysteresis float64) arbiter.Config {
	c := arbiter.DefaultConfig()
	c.Hysteresis, c.Combine = hysteresis, false
	return c
}

// challenged records two NTP servers of which the second, with a tenth of the delay, appears after the first
// is followed.
func challenged(t *testing.T) []byte {
	t.Helper()
	var file bytes.Buffer
	h := testHeader()
	h.Plan = challengePlan()
	w, err := NewWriter(&file, h)
	if err != nil {
		t.Fatal(err)
	}
	write := func(e Entry) {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	r, a := roster.New(h.Plan), arbiter.New(challengeThresholds(2))
	write(Entry{Keyframe: NewKeyframe(a, r, 0)})
	for i := range 120 {
		now := start.Add(time.Duration(i) * time.Second)
		var u sources.Update
		for j, delay := range []time.Duration{2 * time.Millisecond, 200 * time.Microsecond} {
			if j == 1 && i < 40 {
				continue
			}
			u.Reports = append(u.Reports, sources.Report{Source: h.Plan[j].ID, At: now, Condition: sources.Measuring})
			u.Samples = append(u.Samples, sources.Sample{Source: h.Plan[j].ID, At: now, Offset: time.Duration((i*37+j*11)%100) * 10, Delay: sources.Some(delay), Dispersion: time.Microsecond})
		}
		write(Entry{Update: &Update{Now: now, Samples: u.Samples, Reports: u.Reports}})
		r.Take(now, u)
		in := r.Input(now, 0)
		d := a.Step(in)
		write(Entry{Tick: &Tick{Input: in, Decision: &d, Applied: true}})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestWhatIfTheClockMayNotBeStepped(t *testing.T) {
	other := Other{Plan: testPlan(), Thresholds: arbiter.DefaultConfig()}
	other.Thresholds.Step.Threshold = 0
	c, err := Compare(open(t, quiet(t, 100)), other)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Recorded.Steps) != 1 || len(c.Other.Steps) != 0 {
		t.Errorf("steps recorded %v, other %v; want one and none", c.Recorded.Steps, c.Other.Steps)
	}
	if shareOf(c.Other.Modes, "locked") >= shareOf(c.Recorded.Modes, "locked") {
		t.Errorf("modes %v with the step, %v without", c.Recorded.Modes, c.Other.Modes)
	}
}

func shareOf(list []Share, name string) time.Duration {
	for _, s := range list {
		if s.Name == name {
			return s.Time
		}
	}
	return 0
}

// quiet records a scenario in which nothing goes wrong.
func quiet(t *testing.T, n int) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, testHeader())
	if err != nil {
		t.Fatal(err)
	}
	s := newScenario(1, func(e Entry) {
		if err := w.Write(e); err != nil {
			t.Error(err)
		}
	})
	write := func(e Entry) {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	write(Entry{Keyframe: NewKeyframe(s.arbiter, s.roster, 0)})
	for i := range n {
		if i%4 == 0 {
			u := sources.Update{}
			for _, id := range s.ids() {
				m := s.mood(id)
				m.last = s.at
				u.Samples = append(u.Samples, s.sample(id, m))
				u.Reports = append(u.Reports, sources.Report{Source: id, At: s.at, Condition: sources.Measuring})
			}
			write(Entry{Update: &Update{Now: s.at, Samples: u.Samples, Reports: u.Reports}})
			s.roster.Take(s.at, u)
		}
		in := s.roster.Input(s.at, s.system)
		d := s.arbiter.Step(in)
		write(Entry{Tick: &Tick{Input: in, Decision: &d, Applied: true}})
		s.system += d.Step.Or(0)
		if target, ok := d.Target.Get(); ok {
			s.system += max(min(target.Offset-s.system, 100*time.Microsecond), -100*time.Microsecond)
		}
		s.at = s.at.Add(250 * time.Millisecond)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}
