package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

const (
	defaultSocket = "/run/clockarbiter/status.sock"
	statusTimeout = 3 * time.Second
)

func statusCommand() *cobra.Command {
	var socket string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show mode, selected source and why, every source, every child, and what the writer last did",
		Long: `Show the supervisor's newest snapshot. Offsets are source - system clock: positive means that
the system clock is slow.

Marks: * selected, + selectable, s settling, x falseticker, d distant, ~ jittery, o stale,
u unsynchronised, ? unreachable.

Exit code 0 when the clock is synchronised, 1 when it is not or nobody answers.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
			defer cancel()
			st, err := supervisor.ReadStatus(ctx, socket)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(st); err != nil {
					return fmt.Errorf("print status: %w", err)
				}
			} else {
				printStatus(cmd.OutOrStdout(), st)
			}
			if !st.Clock.Synchronised {
				cmd.SilenceErrors = true
				return fmt.Errorf("the clock is not synchronised: mode %s", st.Mode)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&socket, "socket", "s", defaultSocket, "status socket (paths.status_socket)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printStatus(w io.Writer, st supervisor.Status) {
	fmt.Fprintf(w, "mode      %s   driver %s   pid %d   version %s   age %s\n", st.Mode, st.Driver, st.PID, st.Version, st.AgeNS.Round(time.Millisecond))
	fmt.Fprintf(w, "selected  %s\n", st.Selected)
	fmt.Fprintf(w, "why       %s: %s (decision %s)\n", st.Decision.Rule, st.Decision.Reason, st.Decision.ID)
	if st.Decision.Change != "" {
		fmt.Fprintf(w, "change    %s\n", st.Decision.Change)
	}
	for _, f := range st.Decision.Faults {
		fmt.Fprintf(w, "FAULT     %s\n", f)
	}
	fmt.Fprintf(w, "clock     offset %s   bound %s   frequency %+.3f ppm   steps %d\n",
		span(st.Clock.OffsetNS), span(st.Clock.BoundNS), st.Clock.FreqPPB/1000, st.Clock.Steps)
	printLimits(w, st.Limits)
	if d, ok := st.Clock.HostMinusSteeredNS.Get(); ok {
		fmt.Fprintf(w, "virtual   CLOCK_REALTIME - steered clock %s\n", span(sources.Some(d)))
	}
	fmt.Fprintf(w, "writer    %s\n", st.Clock.LastWrite)
	if st.Clock.LastError != "" {
		fmt.Fprintf(w, "ERROR     %s\n", st.Clock.LastError)
	}
	printOscillator(w, st.Oscillator)
	l := st.Loop
	fmt.Fprintf(w, "loop      every %s   late by p50 %s   p99 %s   p99.9 %s   worst %s   %d of %d ticks late by a period   longest tick %s\n",
		l.PeriodNS, brief(l.LatenessP50NS), brief(l.LatenessP99NS), brief(l.LatenessP999NS), brief(l.WorstLatenessNS), l.LateTicks, l.Ticks, brief(l.WorstTickNS))
	printLeap(w, st.Leap)
	printOwnership(w, st.Ownership, st.At)
	fmt.Fprintln(w)
	printSources(w, st.Sources)
	fmt.Fprintln(w)
	printChildren(w, st.Children, st.At)
}

func printSources(w io.Writer, list []supervisor.SourceStatus) {
	t := plainTable(w)
	t.AppendHeader(table.Row{"", "source", "state", "offset", "bound", "jitter", "bias", "age", "reach", "reason"})
	for _, s := range list {
		reach := "-"
		if r, ok := s.Reach.Get(); ok {
			reach = fmt.Sprintf("%03o", r)
		}
		t.AppendRow(table.Row{s.Mark, s.ID, s.State, span(s.OffsetNS), span(s.BoundNS), span(s.JitterNS), bias(s), age(s.AgeNS), reach, s.Reason})
	}
	t.Render()
}

// bias is the learnt constant offset of a source with its age.
func bias(s supervisor.SourceStatus) string {
	old, ok := s.BiasAgeNS.Get()
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%s (%v)", span(s.BiasNS), old.Round(time.Second))
}

func printChildren(w io.Writer, list []supervisor.ChildStatus, now time.Time) {
	t := plainTable(w)
	t.AppendHeader(table.Row{"child", "phase", "pid", "restarts", "for", "last exit"})
	for _, c := range list {
		t.AppendRow(table.Row{c.Name, c.Phase, c.PID, c.Restarts, now.Sub(c.Since).Round(time.Second), strings.TrimSpace(c.Problem + " " + c.LastExit)})
	}
	t.Render()
}

func plainTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = 0
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

// brief rounds a duration that is known to be one to what a person reads.
func brief(d time.Duration) time.Duration { return d.Round(max(time.Microsecond, d/100)) }

// span formats a time with three or four significant digits and a sign, as a person reads it.
func span(o sources.Optional[time.Duration]) string {
	d, ok := o.Get()
	if !ok {
		return "-"
	}
	s := float64(d)
	switch a := d.Abs(); {
	case a < time.Microsecond:
		return fmt.Sprintf("%+.0fns", s)
	case a < time.Millisecond:
		return fmt.Sprintf("%+.2fus", s/1e3)
	case a < time.Second:
		return fmt.Sprintf("%+.3fms", s/1e6)
	default:
		return fmt.Sprintf("%+.3fs", s/1e9)
	}
}

func age(o sources.Optional[time.Duration]) string {
	if d, ok := o.Get(); ok {
		return d.Round(100 * time.Millisecond).String()
	}
	return "-"
}
