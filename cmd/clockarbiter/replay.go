package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"clockarbiter/clock/timescale"
	"clockarbiter/recording"
)

// replayFlags are the flags of replay.
type replayFlags struct {
	config             string
	asJSON, anyVersion bool
}

func replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Repeat the decisions of a recording, or show those that another configuration would have made",
		Long: `Run the arbiter over a recording. Without --config, every decision has to come out as recorded,
bit for bit: exit code 0, else 1 with the first that differs. A file that was cut off is repeated up to
the cut.

With --config, show what that configuration would have decided otherwise. The clock's course is the
recorded one, but for steps that only one of the two orders.

Only the version that recorded repeats bit for bit; another is refused unless --any-version is given.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return usageError{err}
			}
			defer file.Close()
			r, err := recording.NewReader(file)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			this := recording.Program{Version: version, Revision: recording.Revision()}
			if err := r.Header().Matches(this); err != nil && !f.anyVersion {
				return fmt.Errorf("%s: %w (--any-version shows what this one would have decided)", args[0], err)
			}
			if f.config != "" {
				return f.compare(cmd, r)
			}
			return f.replay(cmd, r)
		},
	}
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "show what this configuration would have decided otherwise")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON; times in nanoseconds")
	cmd.Flags().BoolVar(&f.anyVersion, "any-version", false, "accept a recording of another version")
	return cmd
}

func (f replayFlags) replay(cmd *cobra.Command, r *recording.Reader) error {
	v, err := recording.Replay(r)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if f.asJSON {
		err = printJSON(cmd.OutOrStdout(), v)
	} else {
		printVerdict(cmd.OutOrStdout(), v)
	}
	if err == nil && v.Difference != nil {
		cmd.SilenceErrors = true
		err = fmt.Errorf("decision %s came out otherwise", v.Difference.ID)
	}
	return err
}

func printVerdict(w io.Writer, v recording.Verdict) {
	fmt.Fprintf(w, "%d decisions, %s to %s\n", v.Ticks, clockTime(v.From), clockTime(v.To))
	if v.Cut != "" {
		fmt.Fprintf(w, "the file was %s\n", v.Cut)
	}
	if v.Lost > 0 {
		fmt.Fprintf(w, "%d entries were not recorded; the replay took up the recorded state after each gap\n", v.Lost)
	}
	d := v.Difference
	if d == nil {
		fmt.Fprintln(w, "every decision came out as recorded, bit for bit")
		return
	}
	fmt.Fprintf(w, "\nDecision %s at %s came out otherwise (%s recorded, %s replayed).\n", d.ID, clockTime(d.At), d.RecordedDigest, d.ReplayedDigest)
	if d.Recorded != nil {
		fmt.Fprintf(w, "recorded  %v %s, %s: %s\n", d.Recorded.Mode, d.Recorded.Selected, d.Recorded.Rule, d.Recorded.Reason)
	} else {
		fmt.Fprintln(w, "recorded  its digest only: it repeated the decision before it but for figures")
	}
	fmt.Fprintf(w, "replayed  %v %s, %s: %s\n", d.Replayed.Mode, d.Replayed.Selected, d.Replayed.Rule, d.Replayed.Reason)
}

func (f replayFlags) compare(cmd *cobra.Command, r *recording.Reader) error {
	other, err := otherConfig(f.config)
	if err != nil {
		return err
	}
	c, err := recording.Compare(r, other)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), c)
	}
	printComparison(cmd.OutOrStdout(), c)
	return nil
}

func printComparison(w io.Writer, c recording.Comparison) {
	printVerdict(w, c.Verdict)
	if c.Verdict.Difference != nil {
		fmt.Fprintln(w, "\nWhat follows compares with what this program decides under the recorded configuration.")
	}
	if len(c.Spans) == 0 {
		fmt.Fprintln(w, "\nThe other configuration decides the same throughout.")
	} else {
		fmt.Fprintf(w, "\nThe two differ, stretches of time: %d\n", len(c.Spans))
		printSpans(w, c.Spans)
	}
	fmt.Fprintln(w)
	printAccounts(w, c)
}

func printSpans(w io.Writer, spans []recording.Span) {
	t := plainTable(w)
	t.AppendHeader(table.Row{"from", "for", "decision", "recorded", "other", "because"})
	for _, s := range spans {
		t.AppendRow(table.Row{clockTime(s.From), s.To.Sub(s.From).Round(100 * time.Millisecond), s.ID, stance(s.Recorded), stance(s.Other), s.Other.Rule + ": " + s.Other.Reason})
	}
	t.Render()
}

func stance(s recording.Stance) string {
	words := s.Mode.String()
	if s.Selected != "" {
		words += " " + string(s.Selected)
	}
	if len(s.Faults) > 0 {
		words += " (" + strings.Join(s.Faults, ", ") + ")"
	}
	return words
}

// printAccounts shows the time spent in each mode and with each source, side by side.
func printAccounts(w io.Writer, c recording.Comparison) {
	t := plainTable(w)
	t.AppendHeader(table.Row{"in sum", "recorded", "other"})
	both := func(what string, recorded, other []recording.Share) {
		for _, name := range names(recorded, other) {
			label := name
			if label == "" {
				label = "no source"
			}
			t.AppendRow(table.Row{what + " " + label, spent(recorded, name), spent(other, name)})
		}
	}
	both("mode", c.Recorded.Modes, c.Other.Modes)
	both("following", c.Recorded.Followed, c.Other.Followed)
	t.AppendRow(table.Row{"switches", c.Recorded.Switches, c.Other.Switches})
	t.AppendRow(table.Row{"steps", steps(c.Recorded.Steps), steps(c.Other.Steps)})
	t.Render()
}

// names merges two sorted lists.
func names(a, b []recording.Share) []string {
	var out []string
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			out, a = append(out, a[0].Name), a[1:]
		case len(a) == 0 || b[0].Name < a[0].Name:
			out, b = append(out, b[0].Name), b[1:]
		default:
			out, a, b = append(out, a[0].Name), a[1:], b[1:]
		}
	}
	return out
}

func spent(list []recording.Share, name string) string {
	for _, s := range list {
		if s.Name == name {
			return s.Time.Round(100 * time.Millisecond).String()
		}
	}
	return "-"
}

func steps(list []recording.Jump) string {
	if len(list) == 0 {
		return "none"
	}
	var words []string
	for _, j := range list {
		words = append(words, fmt.Sprintf("%+.6f s at %s", j.Amount.Seconds(), clockTime(j.At)))
	}
	return strings.Join(words, "; ")
}

func clockTime(at timescale.Instant) string { return at.Near().Format("2006-01-02 15:04:05.000") }
