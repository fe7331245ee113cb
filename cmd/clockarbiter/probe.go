package main

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"clockarbiter/ptp"
)

func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "probe [INTERFACE...]",
		Short: "Show the timestamping abilities of network interfaces, as ethtool -T does, and the mode that follows",
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				all, err := net.Interfaces()
				if err != nil {
					return fmt.Errorf("list network interfaces: %w", err)
				}
				for _, i := range all {
					names = append(names, i.Name)
				}
			}
			var failed error
			for _, n := range names {
				caps, err := ptp.Probe(n)
				if err != nil {
					fmt.Fprintln(cmd.ErrOrStderr(), err)
					failed = err
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", n, caps)
			}
			return failed
		},
	}
}
