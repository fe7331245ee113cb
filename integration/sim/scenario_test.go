package sim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/integration/frugal"
)

// TestScenarios runs every scenario in testdata: its assertions are the test.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			r := runFile(t, file)
			t.Logf("RMS %.0f ns, max %.0f ns, control %.1f ns, bounded %.5f, %d events", r.RMS, r.Max, r.ControlRMS, r.Bounded, len(r.Events))
			for _, why := range r.Broken {
				t.Error(why)
			}
		})
	}
}

func runFile(t *testing.T, file string) Result {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := LoadScenario(data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// small is a scenario that has a bit of everything.
func small(seed uint64) Scenario {
	s := benchNTP(benchPHC(seed, 1e-9, Duration(250*time.Millisecond), Duration(4*time.Minute)), 100*time.Microsecond)
	s.Settle = Duration(time.Minute)
	s.Oscillator.WhiteFM, s.Oscillator.FlickerFM = 0.1, 0.1
	s.Sources[1].Path.Distribution, s.Sources[1].Path.Shape = "gamma", 0.5
	s.Sources[2].Path.Distribution, s.Sources[2].Path.Shape = "pareto", 2
	s.Sources[3].Path.Loss = 0.2
	s.Faults = []Fault{
		{At: Duration(100 * time.Second), Kind: FaultPause, For: Duration(3 * time.Second)},
		{At: Duration(150 * time.Second), Kind: FaultDie, Source: phcID},
	}
	return s
}

func TestOneSeedIsOneRun(t *testing.T) {
	run := func(seed uint64) Result {
		r, err := Run(small(seed))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := run(1)
	if d := cmp.Diff(first.Error.Values, run(1).Error.Values); d != "" {
		t.Errorf("the same seed, another run:\n%s", d)
	}
	if d := cmp.Diff(first.Events, run(1).Events); d != "" {
		t.Errorf("the same seed, other events:\n%s", d)
	}
	if cmp.Equal(first.Error.Values, run(2).Error.Values) {
		t.Error("another seed, the same run")
	}
}

func TestOneMoreSourceLeavesTheOthersAlone(t *testing.T) {
	s := small(1)
	var with, without Oracle
	for _, o := range []*Oracle{&with, &without} {
		*o = *NewOracle(readingNoise, 1e-9)
	}
	phc := s
	phc.Sources = s.Sources[:1]
	a, err := RunWithPeers(phc, []Peer{&with}, nil)
	if err != nil {
		t.Fatal(err)
	}
	phc.Sources = append(phc.Sources[:1:1], SourceSpec{ID: "ntp:late", Kind: NTPServer, Interval: Duration(time.Second), Start: Duration(5 * time.Minute)})
	b, err := RunWithPeers(phc, []Peer{&without}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a.Peers[0].Values, b.Peers[0].Values); d != "" {
		t.Errorf("another source changed what the PHC measured:\n%s", d)
	}
}

func TestTheOrderOfSourcesDoesNotMatter(t *testing.T) {
	s := small(3)
	a, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Sources = slices.Clone(s.Sources)
	slices.Reverse(s.Sources)
	b, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a.Error.Values, b.Error.Values); d != "" {
		t.Errorf("another order, another clock:\n%s", d)
	}
}

func TestLoadScenarioNamesEveryError(t *testing.T) {
	const good = "duration = '1m'\n[[source]]\nid = 'a'\nkind = 'phc'\ninterval = '1s'\n"
	tests := []struct{ rule, data, want string }{
		{"not TOML", "duration = = 1", "parse scenario"},
		{"unknown key", good + "colour = 1\n", `unknown key "source.colour"`},
		{"a bare number is no duration", "duration = 5", "duration"},
		{"no duration", "name = 'x'", "duration 0s"},
		{"longer than a month", "duration = '10000h'", "at most"},
		{"kind", "duration = '1m'\n[[source]]\nid='a'\nkind='sundial'\ninterval='1s'", `kind "sundial"`},
		{"same id twice", good + "[[source]]\nid = 'a'\nkind = 'phc'\ninterval = '1s'\n", "not unique"},
		{"interval", "duration = '1m'\n[[source]]\nid='a'\nkind='phc'", "interval"},
		{"law of the jitter", good + "path = { distribution = 'normal' }", "distribution"},
		{"pareto without a mean", good + "path = { distribution = 'pareto', shape = 1.0 }", "more than 1"},
		{"gamma without a shape", good + "path = { distribution = 'gamma' }", "more than 0"},
		{"loss", good + "path = { loss = 2.0 }", "loss"},
		{"fault of a stranger", good + "[[fault]]\nkind='die'\nsource='b'", `no source "b"`},
		{"unknown fault", good + "[[fault]]\nkind='rust'", `unknown kind "rust"`},
		{"assertion of a stranger", good + "[[assert]]\nat='1s'\nselected='b'", "none of the scenario's"},
		{"assertion without time", good + "[[assert]]\nmax_error='1us'", "to must be after from"},
		{"state without source", good + "[[assert]]\nat='1s'\nstate='selected'", "go together"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if _, err := LoadScenario([]byte(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := LoadScenario([]byte(good + "kindd = 1\n[[fault]]\nkind='rust'\n")); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want both errors, got %v", err)
	}
}

func TestABrokenAssertionIsReported(t *testing.T) {
	s := small(1)
	s.Assertions = []Assertion{
		{From: 0, To: Duration(time.Minute), Mode: "holdover"},
		{At: Duration(140 * time.Second), Selected: "ntp:192.0.2.1"},
		{At: Duration(140 * time.Second), Source: phcID, State: "falseticker"},
		{From: Duration(time.Minute), To: Duration(2 * time.Minute), MaxError: 1, MaxRMS: 1},
		{From: Duration(time.Minute), To: Duration(2 * time.Minute), Bounded: 1.01},
		{At: Duration(140 * time.Second), Selected: phcID, Mode: "locked", MaxError: Duration(time.Microsecond)},
	}
	r, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{1, 2, 3, 4, 5} {
		if !strings.Contains(strings.Join(r.Broken, "\n"), "assertion "+string(rune('0'+n))) {
			t.Errorf("assertion %d is not reported: %q", i+1, r.Broken)
		}
	}
	if strings.Contains(strings.Join(r.Broken, "\n"), "assertion 6") {
		t.Errorf("assertion 6 holds and is reported: %q", r.Broken)
	}
}

func TestOutputs(t *testing.T) {
	s := small(1)
	s.Name = `<&"`
	r, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	var csv, json, svg bytes.Buffer
	if err := errors.Join(r.WriteCSV(&csv), r.WriteJSON(&json), r.WriteSVG(&svg)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(csv.String(), "\n"); n != len(r.Error.Values)+1 {
		t.Errorf("%d lines of CSV for %d values", n, len(r.Error.Values))
	}
	if !strings.Contains(json.String(), `"rms_ns"`) {
		t.Errorf("JSON without rms_ns: %.200s", json.String())
	}
	for d := xml.NewDecoder(&svg); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
}

// FuzzScenario: whatever parses and passes the check can be run.
func FuzzScenario(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Scenario
		var err error
		frugal.Parse(t, len(data), func() { s, err = LoadScenario(data) })
		if err != nil {
			return
		}
		s.Duration, s.Settle = min(s.Duration, Duration(10*time.Second)), 0
		for i := range s.Sources {
			s.Sources[i].Interval = max(s.Sources[i].Interval, Duration(100*time.Millisecond))
		}
		s.Clock.Interval = max(s.Clock.Interval, Duration(50*time.Millisecond))
		r, err := Run(s)
		if err == nil && len(r.Error.Values) == 0 && s.Duration > Duration(time.Second) {
			t.Error("a run without values")
		}
	})
}
