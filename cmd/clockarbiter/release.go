package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"clockarbiter/supervisor"
)

func releaseCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "release",
		Short: "End a slew that a killed supervisor left running (the unit's ExecStopPost)",
		Long: `End a slew that a killed supervisor left running: the kernel keeps a commanded frequency, slew
included, until somebody writes another. Sets the frequency that keeps the rate of the last target, and
changes nothing else. Does nothing while a supervisor runs.

Exit code 0 when nothing is being slewed any more, 1 when that cannot be told.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadTrusted(path)
			if err != nil {
				return usageError{err}
			}
			did, err := supervisor.ReleaseClock(cfg, version)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), did)
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	return cmd
}
