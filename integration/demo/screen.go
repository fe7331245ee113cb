package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"clockarbiter/integration/story"
	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

// plainInterval is how often a line is printed where there is no terminal to redraw a table on.
const plainInterval = 2 * time.Second

// screen shows the story while it goes on: a table that is redrawn on a terminal, a line now and then
// elsewhere.
type screen struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	// drawn is the number of lines of the table that is on the terminal.
	drawn int
	// printed is the time of the last plain line.
	printed time.Duration
}

func newScreen(out *os.File) *screen {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	if !terminal {
		text.DisableColors()
	}
	return &screen{out: out, terminal: terminal, printed: -plainInterval}
}

// chapter prints a title, which stays.
func (s *screen) chapter(title string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, "%s %s\n", text.Bold.Sprint("==>"), text.Bold.Sprint(title))
	s.printed = -plainInterval
}

// seen shows one observation.
func (s *screen) seen(p story.Point, status supervisor.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal {
		s.erase()
		s.draw(live(p, status))
		return
	}
	if p.At-s.printed < plainInterval {
		return
	}
	s.printed = p.At
	fmt.Fprintln(s.out, summary(p, status)+" "+marks(status))
}

// erase takes the table off the terminal.
func (s *screen) erase() {
	if s.drawn > 0 {
		// Cursor to the first line of the table, clear from there on (ECMA-48: CPL, ED).
		fmt.Fprintf(s.out, "\x1b[%dF\x1b[J", s.drawn)
		s.drawn = 0
	}
}

func (s *screen) draw(picture string) {
	fmt.Fprint(s.out, picture)
	s.drawn = strings.Count(picture, "\n")
}

// summary is the state in one line.
func summary(p story.Point, status supervisor.Status) string {
	return fmt.Sprintf("%5.1f s  %-12s follows %-14s true error %10s  bound %9s ",
		p.At.Seconds(), status.Mode, status.Selected, story.Span(p.TrueError), span(p.Bound))
}

// marks are the sources with their states' marks: "*ptp:gm:24 +ntp:10.77.2.1".
func marks(status supervisor.Status) string {
	var words []string
	for _, source := range status.Sources {
		words = append(words, source.Mark+string(source.ID))
	}
	return strings.Join(words, " ")
}

// live is the table that is redrawn. No line is longer than 100 characters: one that wraps could not be
// erased.
func live(p story.Point, status supervisor.Status) string {
	t := newTable()
	t.AppendHeader(table.Row{"", "source", "state", "offset", "bound", "jitter", "age"})
	for _, source := range status.Sources {
		row := table.Row{
			source.Mark, source.ID, source.State, span(source.OffsetNS), span(source.BoundNS), span(source.JitterNS), age(source.AgeNS),
		}
		t.AppendRow(row)
	}
	return "\n  " + summary(p, status) + "\n\n" + t.Render() + "\n"
}

// end prints the decisions and the figures.
func (s *screen) end(entries []story.Entry, figures []story.Figure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, "\n%s\n\n", text.Bold.Sprint("The decisions, as the journal would show them"))
	for _, e := range entries {
		if e.Decision() {
			fmt.Fprint(s.out, journalLines(e))
		}
	}
	fmt.Fprintf(s.out, "\n%s\n\n%s\n", text.Bold.Sprint("The figures"), verdicts(figures))
}

// shownFields are the fields of an entry that its message does not spell out, in the order shown.
func shownFields() []string {
	return []string{"MESSAGE_ID", "DECISION_ID", "EVENT", "RULE", "SOURCE", "FROM", "TO", "OFFSET_NS", "BOUND_NS"}
}

// journalLines are an entry as journalctl would show it, and its fields below.
func journalLines(e story.Entry) string {
	var fields []string
	for _, name := range shownFields() {
		if value, ok := e.Fields[name]; ok {
			fields = append(fields, name+"="+value)
		}
	}
	return fmt.Sprintf("%s clockarbiter: %s\n    %s\n",
		e.Time.Format("15:04:05.000"), e.Message, text.Faint.Sprint(strings.Join(fields, " ")))
}

// verdicts is the table of the figures.
func verdicts(figures []story.Figure) string {
	t := newTable()
	t.AppendHeader(table.Row{"", "figure", "measured", "limit", ""})
	chapter := ""
	for _, f := range figures {
		verdict := text.FgGreen.Sprint("ok")
		if f.Missed() {
			verdict = text.FgRed.Sprint("MISSED")
		}
		title := f.Chapter
		if title == chapter {
			title = ""
		}
		chapter = f.Chapter
		t.AppendRow(table.Row{title, f.What, span(f.Got), story.Span(f.Limit), verdict})
	}
	return t.Render()
}

func newTable() table.Writer {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

func span(o sources.Optional[time.Duration]) string {
	if d, ok := o.Get(); ok {
		return story.Span(d)
	}
	return "-"
}

func age(o sources.Optional[time.Duration]) string {
	if d, ok := o.Get(); ok {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return "-"
}
