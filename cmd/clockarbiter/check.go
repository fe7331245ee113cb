package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"clockarbiter/configs"
)

// defaultConfig is where packages and the Ansible role put the configuration.
const defaultConfig = "/etc/clockarbiter/clockarbiter.toml"

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration: every error at once, with file, line, key and allowed range",
		Long: `Check a configuration without touching the host: neither root, nor the interfaces, nor chronyd
and ptp4l are needed. Exits 0 for a valid file (doubtful settings are printed as warnings), 2 else.

For Ansible: validate: clockarbiter check %s`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, warnings, err := configs.LoadWithWarnings(args[0])
			if err != nil {
				return usageError{err}
			}
			for _, w := range warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: valid: driver %s, %d NTP server(s), %d PTP interface(s)\n",
				args[0], cfg.Clock.Driver, len(cfg.NTP.Servers), len(cfg.PTP.Interfaces))
			return nil
		},
	}
}

// exactly is cobra.ExactArgs with our exit code.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; usage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}
