package arbiter

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

var update = flag.Bool("update", false, "rewrite the verdicts in testdata")

// TestGolden runs testdata/*.txt: a scenario above the line of dashes, what the arbiter decided below.
//
//	config KEY=VALUE ...     a threshold
//	source ID KIND [OPTION]  a source: prefer, trust, require, noselect
//	ID KEY=VALUE ...         from now on: offset, bound, jitter, freq (ppb), report, grandmaster, utc_offset, silent, jump (a new track)
//	system OFFSET            the system clock - L
//	run DURATION             that many decisions, one per second, and the clock follows them
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := bytes.Cut(data, []byte("----\n"))
			got := play(t, script)
			if *update {
				if err := os.WriteFile(file, fmt.Appendf(nil, "%s----\n%s", script, got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("decisions (-want +got):\n%s", d)
			}
		})
	}
}

// actor is one source of a scenario.
type actor struct {
	c      Candidate
	est    sources.Estimate
	report sources.Report
	silent bool
}

type scenario struct {
	t      *testing.T
	cfg    Config
	arb    *Arbiter
	actors []*actor
	now    timescale.Instant
	system time.Duration
	out    strings.Builder
}

func play(t *testing.T, script []byte) string {
	s := &scenario{t: t, cfg: DefaultConfig(), now: 1e18}
	lines := bufio.NewScanner(bytes.NewReader(script))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if fields := strings.Fields(line); len(fields) > 0 {
			s.do(fields)
		}
	}
	return s.out.String()
}

func (s *scenario) do(fields []string) {
	switch fields[0] {
	case "config":
		for _, f := range fields[1:] {
			s.configure(f)
		}
	case "source":
		s.source(fields[1], fields[2], fields[3:])
	case "system":
		s.system = s.duration(fields[1])
	case "run":
		s.run(int(s.duration(fields[1]) / time.Second))
	default:
		a := s.actor(fields[0])
		for _, f := range fields[1:] {
			s.change(a, f)
		}
	}
}

func (s *scenario) duration(v string) time.Duration {
	d, err := time.ParseDuration(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *scenario) configure(f string) {
	key, v, _ := strings.Cut(f, "=")
	switch key {
	case "min_sources":
		s.cfg.MinSources, _ = strconv.Atoi(v)
	case "disagreement":
		if err := s.cfg.Disagreement.UnmarshalText([]byte(v)); err != nil {
			s.t.Fatal(err)
		}
	case "when_running":
		s.cfg.Step.WhenRunning = v == "true"
	case "at_start":
		s.cfg.Step.AtStart = v == "true"
	case "holdover_max_time":
		s.cfg.HoldoverMaxTime = s.duration(v)
	case "holdover_max_bound":
		s.cfg.HoldoverMaxBound = s.duration(v)
	default:
		s.t.Fatalf("unknown key %s", key)
	}
}

func (s *scenario) source(id, kind string, options []string) {
	a := &actor{c: Candidate{ID: sources.ID(id)}, est: sources.Estimate{
		Bound: 100 * time.Microsecond, OffsetSD: time.Microsecond, FreqSDPPB: 5, WanderPPB: 1, Jitter: 5 * time.Microsecond, Track: 1,
	}}
	if err := a.c.Kind.UnmarshalText([]byte(kind)); err != nil {
		s.t.Fatal(err)
	}
	a.report = sources.Report{Source: a.c.ID, Condition: sources.Measuring}
	for _, o := range options {
		switch o {
		case "prefer":
			a.c.Options.Prefer = true
		case "trust":
			a.c.Options.Trust = true
		case "require":
			a.c.Options.Require = true
		case "noselect":
			a.c.Options.NoSelect = true
		default:
			s.t.Fatalf("unknown option %s", o)
		}
	}
	s.actors = append(s.actors, a)
}

func (s *scenario) actor(id string) *actor {
	for _, a := range s.actors {
		if string(a.c.ID) == id {
			return a
		}
	}
	s.t.Fatalf("unknown source or command %s", id)
	return nil
}

func (s *scenario) change(a *actor, f string) {
	key, v, _ := strings.Cut(f, "=")
	switch key {
	case "offset":
		a.est.Offset = s.duration(v)
	case "bound":
		a.est.Bound = s.duration(v)
	case "jitter":
		a.est.Jitter = s.duration(v)
	case "freq":
		a.est.FreqPPB, _ = strconv.ParseFloat(v, 64)
	case "silent":
		a.silent = v != "false"
	case "jump":
		a.est.Offset += s.duration(v)
		a.est.Track++
		a.est.Samples = 3
	case "utc_offset":
		a.report.Quality.UTCOffset = sources.Some(s.duration(v))
	case "grandmaster":
		a.report.Quality.Reference = v
	case "report":
		if err := a.report.Condition.UnmarshalText([]byte(v)); err != nil {
			s.t.Fatal(err)
		}
	default:
		s.t.Fatalf("unknown key %s", key)
	}
}

func (s *scenario) run(seconds int) {
	if s.arb == nil {
		s.arb = New(s.cfg)
	}
	var d Decision
	for range seconds {
		s.now = s.now.Add(time.Second)
		in := s.input()
		d = s.arb.Step(in)
		s.print(d)
		s.obey(d)
	}
	fmt.Fprintf(&s.out, "%s %s %v by %s: %s\n", s.stamp(), d.Mode, d.Selected, d.Rule, d.Reason)
	if target, ok := d.Target.Get(); ok {
		fmt.Fprintf(&s.out, "  target %v +-%v\n", show(target.Offset), show(d.Bound.Or(0)))
	}
	for _, v := range d.Verdicts {
		fmt.Fprintf(&s.out, "  %c %s %s: %s\n", v.State.Mark(), v.ID, v.State, v.Reason)
	}
	fmt.Fprintf(&s.out, "  would change: %s\n", d.Change)
}

// input advances each source by a second and shows it to the arbiter.
func (s *scenario) input() Input {
	in := Input{Now: s.now, System: s.system}
	for _, a := range s.actors {
		if !a.silent {
			a.est.Samples++
			a.est.LastSample = s.now
			a.est.Offset += time.Duration(a.est.FreqPPB)
			a.est.At = s.now
		}
		a.report.At = s.now
		c := a.c
		c.Report = sources.Some(a.report)
		if a.est.Samples > 0 {
			c.Estimate = sources.Some(a.est.Project(s.now))
		}
		in.Candidates = append(in.Candidates, c)
	}
	return in
}

// obey lets the clock follow: a step at once, the rest at 400 us per second.
func (s *scenario) obey(d Decision) {
	if step, ok := d.Step.Get(); ok {
		s.system += step
	}
	if target, ok := d.Target.Get(); ok {
		left := target.Offset - s.system
		s.system += max(-400*time.Microsecond, min(400*time.Microsecond, left))
	}
}

func (s *scenario) stamp() string { return fmt.Sprintf("%3.0fs", s.now.Sub(1e18).Seconds()) }

func (s *scenario) print(d Decision) {
	for _, e := range d.Events {
		fmt.Fprintf(&s.out, "%s %s %s %s -> %s", s.stamp(), e.Kind, e.Source, e.From, e.To)
		if off, ok := e.Offset.Get(); ok {
			fmt.Fprintf(&s.out, " %v +-%v", show(off), show(e.Bound.Or(0)))
		}
		fmt.Fprintf(&s.out, " (%s)\n", e.Reason)
	}
}
