package main

import (
	"io"
	"log/slog"

	"github.com/coreos/go-systemd/v22/journal"

	"clockarbiter/configs"
)

func newLog(cfg *configs.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		level = slog.LevelInfo // configs has checked it: only a level that slog does not know gets here
	}
	opts := &slog.HandlerOptions{Level: level}
	if stderrIsJournal() {
		opts.ReplaceAttr = withoutTime // the journal has timestamps of its own
	}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// stderrIsJournal reports whether what is written to stderr ends in the journal.
func stderrIsJournal() bool {
	ok, err := journal.StderrIsJournalStream()
	return err == nil && ok
}
