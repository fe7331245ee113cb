package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"clockarbiter/configs"
	"clockarbiter/recording"
	"clockarbiter/supervisor"
)

// defaultRecordings is where a supervisor with the default configuration records.
const defaultRecordings = "/var/lib/clockarbiter/recordings"

// whyFlags are the flags of why.
type whyFlags struct {
	socket, recordings, at string
	asJSON                 bool
}

func whyCommand() *cobra.Command {
	var f whyFlags
	cmd := &cobra.Command{
		Use:   "why [DECISION]",
		Short: "Explain a decision: the rule, the figures, what was rejected and why, what would change it",
		Long: `Explain why the clock is where it is: what is decided now, in a decision of the past by its
identifier (DECISION_ID in the journal), or at a time. The past is answered from the recordings; they
exist where [record] is enabled.

Times: 2026-11-22T21:00:05Z, "2026-11-22 21:00:05" and 21:00 in local time, or -90s, -2h for ago.

Exit code 0 when there is an answer, 1 when there is none.`,
		Example: `  clockarbiter why
  clockarbiter why mu2k0c5s-1234
  clockarbiter why --at 03:10`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := f.explain(cmd.Context(), args, time.Now())
			if err != nil {
				return err
			}
			if f.asJSON {
				return printJSON(cmd.OutOrStdout(), e)
			}
			e.print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().StringVarP(&f.socket, "socket", "s", defaultSocket, "status socket (paths.status_socket)")
	cmd.Flags().StringVar(&f.recordings, "recordings", "", "directory of the recordings (record.dir); by default that of the running supervisor, else "+defaultRecordings)
	cmd.Flags().StringVar(&f.at, "at", "", "explain what was decided at this time")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON; times in nanoseconds")
	return cmd
}

// atMostOne is cobra.MaximumNArgs(1) with our exit code.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("one decision at a time; usage: %s", cmd.UseLine())}
	}
	return nil
}

// explain answers what is asked for.
func (f whyFlags) explain(ctx context.Context, args []string, now time.Time) (explanation, error) {
	if len(args) == 0 && f.at == "" {
		ctx, cancel := context.WithTimeout(ctx, statusTimeout)
		defer cancel()
		st, err := supervisor.ReadStatus(ctx, f.socket)
		if err != nil {
			return explanation{}, err
		}
		return explainNow(st), nil
	}
	found, err := f.find(ctx, args, now)
	if err != nil {
		return explanation{}, err
	}
	e := explain(found)
	e.Note = f.ends(found, now)
	if len(args) > 0 && args[0] != e.ID {
		e.Asked = args[0]
	}
	return e, nil
}

// find returns the decision of the past that is asked for.
func (f whyFlags) find(ctx context.Context, args []string, now time.Time) (recording.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	switch {
	case len(args) > 0 && f.at != "":
		return recording.Found{}, usageError{errors.New("a decision and --at exclude each other")}
	case len(args) > 0:
		if _, _, err := recording.SplitID(args[0]); err != nil {
			return recording.Found{}, usageError{err}
		}
		return f.recorded(ctx, func(files []string) (recording.Found, error) { return recording.FindID(files, args[0]) })
	default:
		at, err := parseTime(f.at, now)
		if err != nil {
			return recording.Found{}, usageError{err}
		}
		return f.recorded(ctx, func(files []string) (recording.Found, error) { return recording.FindTime(files, at) })
	}
}

// recordedLate is how far the end of a recording may lie back before it is mentioned: a file is written in
// pieces.
const recordedLate = 10 * time.Second

// ends says where the recordings end before the time that was asked for; empty where they do not.
func (f whyFlags) ends(found recording.Found, now time.Time) string {
	at, err := parseTime(f.at, now)
	if err != nil || at.Sub(found.Until.Near()) < recordedLate {
		return ""
	}
	return fmt.Sprintf("Recorded up to %s only: what was decided after that is not known.", found.Until.Near().Format(time.RFC3339))
}

// recorded looks in the recordings.
func (f whyFlags) recorded(ctx context.Context, find func([]string) (recording.Found, error)) (recording.Found, error) {
	dir := f.recordings
	if dir == "" {
		dir = defaultRecordings
		if st, err := supervisor.ReadStatus(ctx, f.socket); err == nil && st.Recording.File != "" {
			dir = filepath.Dir(st.Recording.File)
		}
	}
	files, err := recording.Files(dir)
	if err != nil {
		return recording.Found{}, fmt.Errorf("%w; is [record] enabled in the configuration?", err)
	}
	found, err := find(files)
	if errors.Is(err, recording.ErrNotFound) {
		return found, fmt.Errorf("%w (%d files in %s); the journal may have it, under DECISION_ID", err, len(files), dir)
	}
	return found, err
}

// parseTime reads a time as people write it. Without a date it is the last such time of day.
func parseTime(s string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(s); err == nil && ago <= 0 {
		return now.Add(ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		t, err := time.ParseInLocation(layout, s, now.Location())
		if err != nil {
			continue
		}
		day := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location())
		if day.After(now) {
			day = day.AddDate(0, 0, -1)
		}
		return day, nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-11-22T21:00:05Z, \"2026-11-22 21:00:05\", 21:00 or -90s", s)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// otherConfig reads the configuration of a what-if.
func otherConfig(path string) (recording.Other, error) {
	cfg, err := configs.Load(path)
	if err != nil {
		return recording.Other{}, usageError{err}
	}
	return supervisor.Arbitration(cfg), nil
}
