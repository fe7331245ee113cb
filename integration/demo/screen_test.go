package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jedib0t/go-pretty/v6/text"

	"clockarbiter/integration/story"
	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

// status is what a supervisor that follows ptp:gm:24 would say.
func status() supervisor.Status {
	return supervisor.Status{
		Mode:     "locked",
		Selected: sources.Some(sources.ID("ptp:gm:24")),
		Sources: []supervisor.SourceStatus{
			{ID: "ntp:10.77.2.1", Mark: "x", State: "falseticker", OffsetNS: sources.Some(15 * time.Millisecond)},
			{ID: "ptp:gm:24", Mark: "*", State: "selected", OffsetNS: sources.Some(-80 * time.Nanosecond)},
		},
	}
}

func TestWithoutATerminalALineIsPrintedNowAndThen(t *testing.T) {
	text.DisableColors()
	var out bytes.Buffer
	s := &screen{out: &out, printed: -plainInterval}
	s.chapter("a chapter")
	for i := range 10 {
		s.seen(story.Point{At: time.Duration(i) * 250 * time.Millisecond, TrueError: -80, Bound: sources.Some(2 * time.Microsecond)}, status())
	}
	const want = `==> a chapter
  0.0 s  locked       follows ptp:gm:24      true error     -80 ns  bound    2.0 us  xntp:10.77.2.1 *ptp:gm:24
  2.0 s  locked       follows ptp:gm:24      true error     -80 ns  bound    2.0 us  xntp:10.77.2.1 *ptp:gm:24
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// On a terminal the table takes its own place each time, and a title stays above it.
func TestOnATerminalTheTableIsRedrawnInPlace(t *testing.T) {
	text.DisableColors()
	var out bytes.Buffer
	s := &screen{out: &out, terminal: true}
	p := story.Point{TrueError: -80}
	s.seen(p, status())
	table := out.String()
	lines := strings.Count(table, "\n")
	for line := range strings.Lines(table) {
		if len(line) > 100 {
			t.Errorf("a line of %d characters would wrap: %q", len(line), line)
		}
	}
	out.Reset()
	s.seen(p, status())
	s.chapter("a chapter")
	erase := "\x1b[" + string(rune('0'+lines)) + "F\x1b[J"
	if diff := cmp.Diff(erase+table+erase+"==> a chapter\n", out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheEndShowsEveryFigureWithItsVerdict(t *testing.T) {
	text.DisableColors()
	var out bytes.Buffer
	s := &screen{out: &out}
	s.end([]story.Entry{
		{Message: "not a decision"},
		{
			Time: time.Date(2026, 11, 22, 20, 38, 5, 0, time.UTC), Message: "Following ptp:gm:24",
			Fields: map[string]string{"MESSAGE_ID": "bd34", "TO": "ptp:gm:24", "DECISION_ID": "a-92", "OFFSET_NS": "4363"},
		},
	}, []story.Figure{
		{Chapter: "acquisition", What: "time", Got: sources.Some(2 * time.Second), Limit: 15 * time.Second},
		{Chapter: "failover", What: "time", Limit: 10 * time.Second},
		{Chapter: "failover", What: "largest true error", Got: sources.Some(300 * time.Microsecond), Limit: 200 * time.Microsecond},
	})
	const want = `
The decisions, as the journal would show them

20:38:05.000 clockarbiter: Following ptp:gm:24
    MESSAGE_ID=bd34 DECISION_ID=a-92 TO=ptp:gm:24 OFFSET_NS=4363

The figures

              figure              measured  limit
 acquisition  time                2.0 s     15.0 s    ok
 failover     time                -         10.0 s    MISSED
              largest true error  300.0 us  200.0 us  MISSED
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
