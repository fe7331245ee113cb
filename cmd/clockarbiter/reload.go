package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"clockarbiter/supervisor"
)

const (
	defaultControl = "/run/clockarbiter/control.sock"
	reloadTimeout  = 20 * time.Second
)

func reloadCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the running supervisor read its configuration again; only what changed is restarted (root)",
		Long: `Make the running supervisor read its configuration again. Engines whose part of the plan is the same
keep running, thresholds and options of sources change without disturbing what was measured. A
configuration with anything wrong in it changes nothing.

Keys of [clock] outside of [clock.step], of [paths], [record] and [log] take effect with a restart only.

Exit code 0 when the new configuration is in force, 1 when it was refused, with the reason, or nobody
answers.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), reloadTimeout)
			defer cancel()
			if err := supervisor.RequestReload(ctx, socket); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "reloaded")
			return nil
		},
	}
	cmd.Flags().StringVarP(&socket, "socket", "s", defaultControl, "control socket (control.sock in paths.run_dir)")
	return cmd
}
