package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/golden"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
	"clockarbiter/recording"
	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

const recordedFrom timescale.Instant = 1_790_000_000_000_000_000

func some[T comparable](v T) sources.Optional[T] { return sources.Some(v) }

// decisions are one of each situation that somebody is woken up by.
func decisions() map[string]recording.Found {
	ntp := arbiter.Verdict{
		ID: "ntp:192.0.2.1", State: arbiter.Selectable, Reason: "+12µs +-150µs, agrees with 3 of 4",
		Offset: some(12 * time.Microsecond), Bound: some(150 * time.Microsecond), Score: some(162e-6),
	}
	silent := arbiter.Verdict{ID: "ntp:192.0.2.3", State: arbiter.Unreachable, Reason: "nothing is heard of it: silent"}
	ptp := arbiter.Verdict{
		ID: "ptp:eth0:0", State: arbiter.Selected, Reason: "no other is better", Offset: some(23 * time.Nanosecond),
		Bound: some(1200 * time.Nanosecond), Score: some(1.3e-6),
	}
	liar := ptp
	liar.State, liar.Reason = arbiter.Falseticker, "+37s +-1.2µs does not cover [+10µs, +30µs], where 3 of 4 agree"
	liar.Offset, liar.Score = some(37*time.Second), sources.None[float64]()
	return map[string]recording.Found{
		"locked": {Kind: "steady", Applied: true, Decision: arbiter.Decision{
			Mode: arbiter.Locked, Selected: some(sources.ID("ptp:eth0:0")), Rule: arbiter.RuleIncumbent,
			Reason:   "ptp:eth0:0: +23ns +-1.2µs; no other is better by a factor of 2",
			Verdicts: []arbiter.Verdict{ntp, silent, ptp}, Bound: some(1200 * time.Nanosecond),
			Change: "the loss of ptp:eth0:0: then ntp:192.0.2.1 is next",
			Timers: []arbiter.Timer{{Name: arbiter.TimerImprovement, Source: "ntp:192.0.2.1", Left: 4250 * time.Millisecond}},
		}},
		"stepped": {Kind: "step-ordered", Applied: false, Decision: arbiter.Decision{
			Mode: arbiter.Acquiring, Selected: some(sources.ID("ptp:eth0:0")), Rule: arbiter.RuleBest, Reason: "ptp:eth0:0: -15ms +-1.2µs; the best of those that may be followed",
			Combined: []sources.ID{"ntp:192.0.2.1", "ptp:eth0:0"}, Bound: some(1200 * time.Nanosecond),
			Verdicts: []arbiter.Verdict{ntp, ptp}, Step: some(-15 * time.Millisecond), Agreement: []sources.ID{"ntp:192.0.2.1", "ptp:eth0:0"},
			Events: []arbiter.Event{
				{Kind: arbiter.StepOrdered, Source: "ptp:eth0:0", Reason: "[ntp:192.0.2.1 ptp:eth0:0] agree", Offset: some(-15 * time.Millisecond)},
				{Kind: arbiter.SelectionChanged, Source: "ptp:eth0:0", To: "ptp:eth0:0", Reason: "best"},
			},
		}},
		"fault": {Kind: "fault-raised", Applied: true, Decision: arbiter.Decision{
			Mode: arbiter.Locked, Selected: some(sources.ID("ntp:192.0.2.1")), Rule: arbiter.RuleHardLoss,
			Reason:   "ntp:192.0.2.1: +12µs +-150µs; ptp:eth0:0 is falseticker",
			Verdicts: []arbiter.Verdict{ntp, silent, liar}, Bound: some(150 * time.Microsecond),
			Change: "the loss of ntp:192.0.2.1: then the clock holds over, no other source may be followed",
			Faults: []arbiter.Fault{
				{Name: arbiter.FaultUTCOffset, Source: "ptp:eth0:0", Evidence: "1 x the UTC offset away from 3 NTP sources (+37s)"},
				{Name: arbiter.FaultNoMajority, Evidence: "at most 2 of 4 sources agree"},
			},
			Events: []arbiter.Event{{Kind: arbiter.FaultRaised, Source: "ptp:eth0:0", To: arbiter.FaultUTCOffset, Reason: "37 s"}},
		}},
		"holdover": {Kind: "mode-changed", Applied: true, Decision: arbiter.Decision{
			Mode: arbiter.Holdover, Rule: arbiter.RuleNoSource, Reason: "no source may be followed", Verdicts: []arbiter.Verdict{silent},
			Bound: some(40 * time.Microsecond), Change: "a source that passes every test and settles",
			Timers: []arbiter.Timer{{Name: arbiter.TimerHoldover, Left: 23*time.Hour + 59*time.Minute}, {Name: arbiter.TimerQuarantine, Source: "ptp:eth0:0", Left: time.Hour}},
		}},
		"free-running": {Kind: "steady", Decision: arbiter.Decision{Mode: arbiter.FreeRunning, Rule: arbiter.RuleNoSource, Reason: "no source may be followed", Change: "a configured source"}},
	}
}

func TestExplanationsForPeople(t *testing.T) {
	for name, f := range decisions() {
		t.Run(name, func(t *testing.T) {
			f.ID, f.Decision.At = "mu2k0c5s-1234", recordedFrom
			var text bytes.Buffer
			explain(f).print(&text)
			golden.Assert(t, text.String(), "why-"+name+".txt")
		})
	}
}

func TestTheExplanationOfNowSaysSinceWhenAndWhoElseWrites(t *testing.T) {
	f := decisions()["locked"]
	f.ID, f.Decision.At = "mu2k0c5s-1234", recordedFrom
	st := supervisor.Status{Newest: f, Decision: supervisor.DecisionStatus{
		ID: "mu2k0c5s-41", Since: recordedFrom.Add(-time.Hour).Near(),
		Faults: []string{"foreign-writer: holding: ntpdate wrote 9 times"},
	}}
	var text bytes.Buffer
	explainNow(st).print(&text)
	golden.Assert(t, text.String(), "why-now.txt")
}

func TestExplanationAsJSON(t *testing.T) {
	f := decisions()["fault"]
	f.ID, f.Decision.At = "mu2k0c5s-1234", recordedFrom
	var text bytes.Buffer
	if err := printJSON(&text, explain(f)); err != nil {
		t.Fatal(err)
	}
	golden.Assert(t, text.String(), "why-fault.json")
}

func TestTimesAsPeopleWriteThem(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 22, 2, 30, 0, 0, zone)
	for _, c := range []struct {
		text string
		want time.Time
	}{
		{"2026-11-22T01:00:05Z", time.Date(2026, 11, 22, 1, 0, 5, 0, time.UTC)},
		{"2026-11-22 01:00:05", time.Date(2026, 11, 22, 1, 0, 5, 0, zone)},
		{"2026-11-22 01:00", time.Date(2026, 11, 22, 1, 0, 0, 0, zone)},
		{"02:10", time.Date(2026, 11, 22, 2, 10, 0, 0, zone)},
		{"23:59:30", time.Date(2026, 11, 21, 23, 59, 30, 0, zone)},
		{"-90s", now.Add(-90 * time.Second)},
	} {
		got, err := parseTime(c.text, now)
		if err != nil || !got.Equal(c.want) {
			t.Errorf("%s: %v, %v; want %v", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "yesterday", "5m", "25:00"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// recordingOf records n ticks of two NTP servers of which the first jumps in the middle, and returns the
// directory.
func recordingOf(t *testing.T, version string, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "recordings")
	plan := []roster.Planned{{ID: "ntp:192.0.2.1", Kind: sources.NTP}, {ID: "ntp:192.0.2.2", Kind: sources.NTP}}
	r, a := roster.New(plan), arbiter.New(arbiter.DefaultConfig())
	tape, err := recording.Open(recording.Options{Dir: dir, MaxSize: 1 << 30, Keep: 2, Header: recording.Header{
		Version: version, Revision: recording.Revision(), Boot: "boot", Started: recordedFrom, Thresholds: arbiter.DefaultConfig(), Plan: plan,
	}})
	if err != nil {
		t.Fatal(err)
	}
	go tape.Run()
	system := 20 * time.Millisecond
	for i := range n {
		now := recordedFrom.Add(time.Duration(i) * time.Second)
		tape.Keyframe(a, r)
		var u sources.Update
		for j, p := range plan {
			offset := time.Millisecond + time.Duration((i*37+j*11)%100)*100
			if j == 0 && i > n/2 {
				offset += time.Second
			}
			u.Reports = append(u.Reports, sources.Report{Source: p.ID, At: now, Condition: sources.Measuring})
			u.Samples = append(u.Samples, sources.Sample{Source: p.ID, At: now, Offset: offset, Delay: some(200 * time.Microsecond), Dispersion: time.Microsecond})
		}
		tape.Update(now, u)
		r.Take(now, u)
		in := r.Input(now, system)
		d := a.Step(in)
		tape.Tick(in, d, true)
		system += d.Step.Or(0)
	}
	if err := tape.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// command runs the program and returns what it printed.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func TestWhyAnswersFromTheRecordings(t *testing.T) {
	dir := recordingOf(t, version, 60)
	nobody := filepath.Join(t.TempDir(), "none.sock")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"a decision", []string{"boot-1"}, "Decision boot-1, 2026-09-21T14:13:20Z"},
		{"one that repeats another", []string{"boot-20"}, "Decision boot-20 repeats boot-"},
		{"a time", []string{"--at", "2026-09-21T14:13:20.5Z"}, "Decision boot-1,"},
		{"a time after the end", []string{"--at", "2026-09-21T15:00:00Z"}, "Recorded up to 2026-09-21T14:14:19Z only"},
		{"a time after the fault", []string{"--at", "2026-09-21T14:13:55Z"}, "what to do:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := command(t, append([]string{"why", "--socket", nobody, "--recordings", dir}, c.args...)...)
			if err != nil || !strings.Contains(out, c.want) {
				t.Errorf("%v\n%s\nwant %q", err, out, c.want)
			}
			out, err = command(t, append([]string{"why", "--json", "--socket", nobody, "--recordings", dir}, c.args...)...)
			var e explanation
			if err == nil {
				err = json.Unmarshal([]byte(out), &e)
			}
			if err != nil || e.Rule == "" || e.Meaning == "" || e.Reason == "" || len(e.Recorded.Input.Candidates) != 2 && e.ID != "boot-1" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestWhyWithoutAnAnswer(t *testing.T) {
	dir := recordingOf(t, version, 10)
	nobody := filepath.Join(t.TempDir(), "none.sock")
	for _, c := range []struct {
		name  string
		args  []string
		usage bool
		want  string
	}{
		{"nobody answers", nil, false, "none.sock"},
		{"an unknown decision", []string{"boot-999", "--recordings", dir}, false, "recorded up to boot-10"},
		{"another run", []string{"other-1", "--recordings", dir}, false, "no such decision"},
		{"no recordings", []string{"boot-1", "--recordings", dir + "x"}, false, "is [record] enabled"},
		{"not an identifier", []string{"boot"}, true, "no identifier"},
		{"both", []string{"boot-1", "--at", "-1s"}, true, "exclude each other"},
		{"two", []string{"boot-1", "boot-2"}, true, "one decision at a time"},
		{"no time", []string{"--at", "noon"}, true, "is no time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := command(t, append([]string{"why", "--socket", nobody}, c.args...)...)
			if err == nil || errors.Is(err, errUsage) != c.usage || !strings.Contains(out, c.want) {
				t.Errorf("%v\n%s\nwant %q", err, out, c.want)
			}
		})
	}
}
