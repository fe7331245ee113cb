package recording

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// fullEvery is how often a decision is written in full although nothing is new, so that the figures of
// any minute can be looked up.
const fullEvery = time.Minute

// Writer encodes entries. It is not safe for concurrent use.
type Writer struct {
	out   *counter
	gz    *gzip.Writer
	buf   *bufio.Writer
	ticks uint64
	news  news
}

// counter counts what reaches the file.
type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += int64(n)
	return n, err
}

// NewWriter begins a file with its header.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	out := &counter{Writer: w}
	gz, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	f := &Writer{out: out, gz: gz, buf: bufio.NewWriter(gz)}
	return f, f.line(Entry{Header: &h})
}

// Write adds an entry. A tick is completed with the digest of its decision, and loses the decision
// itself where that is no news.
func (w *Writer) Write(e Entry) error {
	if e.Tick == nil || e.Tick.Decision == nil {
		return w.line(e)
	}
	w.ticks++
	t := *e.Tick
	t.Number, t.Digest = t.Decision.Number, DigestOf(*t.Decision)
	full := t
	full.Kind = KindOf(*t.Decision)
	t.Input.Candidates, t.Decision = nil, nil
	if !w.news.is(*full.Decision) {
		return w.line(Entry{Tick: &t})
	}
	if err := w.line(Entry{Tick: &full}); err != nil {
		// A figure that JSON has no word for costs the words, never the digest.
		return w.line(Entry{Tick: &t})
	}
	return nil
}

// line appends one entry; nothing of one that cannot be encoded.
func (w *Writer) line(e Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	if _, err := w.buf.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	return nil
}

// Flush hands everything so far to the file.
func (w *Writer) Flush() error {
	if err := w.buf.Flush(); err != nil {
		return fmt.Errorf("write entries: %w", err)
	}
	if err := w.gz.Flush(); err != nil {
		return fmt.Errorf("write entries: %w", err)
	}
	return nil
}

// Close ends the file in order; it does not close what the file is written to.
func (w *Writer) Close() error {
	if err := w.line(Entry{End: &End{Ticks: w.ticks}}); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := w.gz.Close(); err != nil {
		return fmt.Errorf("end the file: %w", err)
	}
	return nil
}

// Size is the number of compressed bytes so far; what is not flushed is not in it.
func (w *Writer) Size() int64 { return w.out.n }

// news tells a decision that is worth its words from one that repeats the last.
type news struct {
	any      bool
	at       timescale.Instant // of the last that was written in full
	mode     arbiter.Mode
	rule     string
	selected sources.Optional[sources.ID]
	faults   []arbiter.Fault
}

func (n *news) is(d arbiter.Decision) bool {
	same := func(f, g arbiter.Fault) bool { return f.Name == g.Name && f.Source == g.Source }
	if n.any && len(d.Events) == 0 && !d.Step.Present() && d.Mode == n.mode && d.Rule == n.rule &&
		d.Selected == n.selected && slices.EqualFunc(d.Faults, n.faults, same) && d.At.Sub(n.at) < fullEvery {
		return false
	}
	*n = news{any: true, at: d.At, mode: d.Mode, rule: d.Rule, selected: d.Selected, faults: d.Faults}
	return true
}

// KindOf names what a decision did, by the weightiest of its events: "steady" for one that changed
// nothing.
func KindOf(d arbiter.Decision) string {
	for _, kind := range [...]arbiter.EventKind{
		arbiter.StepOrdered, arbiter.StepRefused, arbiter.ModeChanged, arbiter.SelectionChanged,
		arbiter.FaultRaised, arbiter.FaultCleared, arbiter.LimitViolated, arbiter.LimitMet, arbiter.SourceStateChanged,
	} {
		if slices.ContainsFunc(d.Events, func(e arbiter.Event) bool { return e.Kind == kind }) {
			return kind.String()
		}
	}
	return "steady"
}
