package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"clockarbiter/configs"
	"clockarbiter/supervisor"
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
			plan := supervisor.NewPlan(cfg, supervisor.Probe(cmd.Context(), cfg))
			if dryRun {
				fmt.Fprint(cmd.OutOrStdout(), plan)
				return nil
			}
			log := newLog(cfg, cmd.ErrOrStderr())
			for _, w := range warnings {
				log.Warn("doubtful configuration", "warning", w.Error())
			}
			s, err := supervisor.New(cfg, supervisor.Options{
				Version: version, Log: log, Journal: newJournal(cfg, log), Notify: supervisor.SystemdNotify(),
			})
			if err != nil {
				return err
			}
			return s.Run(cmd.Context(), plan)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print every child with argv, rendered configuration, user and capabilities, and start nothing")
	return cmd
}

// newJournal writes entries to journald where this process's stderr goes there too, so that what
// was started in a terminal is read in the terminal.
func newJournal(cfg *configs.Config, log *slog.Logger) supervisor.Journal {
	if cfg.Log.Format == "auto" && stderrIsJournal() {
		return supervisor.SystemdJournal{}
	}
	return supervisor.LogJournal{Log: log}
}
