package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"clockarbiter/configs"
	"clockarbiter/supervisor"
	"clockarbiter/supervisor/trust"
)

func runCommand() *cobra.Command {
	var path string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the supervisor in the foreground",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, warnings, err := configs.LoadWithWarnings(path)
			if err != nil {
				return usageError{err}
			}
			if err := trust.File(path); err != nil && !dryRun {
				return usageError{fmt.Errorf("configuration refused: %w", err)}
			}
			plan := supervisor.NewPlan(cfg, supervisor.Probe(cmd.Context(), cfg))
			if dryRun {
				fmt.Fprint(cmd.OutOrStdout(), plan)
				return nil
			}
			stderr := supervisor.NewLogWriter(cmd.ErrOrStderr())
			defer stderr.Close()
			log := newLog(cfg, stderr)
			for _, w := range warnings {
				log.Warn("doubtful configuration", "warning", w.Error())
			}
			s, err := supervisor.New(cfg, supervisor.Options{
				Version: version, Log: log, Journal: newJournal(cfg, log), Notify: supervisor.SystemdNotify(),
				Load: func() (*configs.Config, error) { return loadTrusted(path) },
			})
			if err != nil {
				return err
			}
			stop := reloadOnHangup(cmd.Context(), s, log)
			defer stop()
			return s.Run(cmd.Context(), plan)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print every child with argv, rendered configuration, user and capabilities, and start nothing")
	return cmd
}

// loadTrusted reads a configuration that nobody else could have written: the supervisor runs as root
// what it says.
func loadTrusted(path string) (*configs.Config, error) {
	if err := trust.File(path); err != nil {
		return nil, err
	}
	return configs.Load(path)
}

// reloadOnHangup reloads at each SIGHUP until stop is called. What comes of it is in the journal.
func reloadOnHangup(ctx context.Context, s *supervisor.Supervisor, log *slog.Logger) (stop func()) {
	hangupC := make(chan os.Signal, 1)
	signal.Notify(hangupC, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangupC:
				if err := s.Reload(ctx); err != nil {
					log.Error("not reloaded", "error", err)
				}
			}
		}
	}()
	return func() {
		signal.Stop(hangupC)
		cancel()
	}
}

// newJournal writes entries to journald where this process's stderr goes there too, so that what
// was started in a terminal is read in the terminal.
func newJournal(cfg *configs.Config, log *slog.Logger) supervisor.Journal {
	if cfg.Log.Format == "auto" && stderrIsJournal() {
		return supervisor.SystemdJournal{}
	}
	return supervisor.LogJournal{Log: log}
}
