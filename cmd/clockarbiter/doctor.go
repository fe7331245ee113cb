package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func doctorCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at this host for whatever could touch the clock or keep it from being kept",
		Long: `Look at the host and say what could touch the system clock beside clockarbiter, and what keeps the
configuration from working: clock daemons that run or are enabled, timedatectl's view, capabilities, PHCs and
their users, interfaces and their timestamping abilities, the leap second table, the kernel's clock source,
virtual machine or bare metal, AppArmor. Each finding says what to do. Nothing is changed.

Run it as root: without, other processes and their capabilities are only partly visible.

Exit codes: 0 no finding is an error, 1 one is, 2 the command line is wrong.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := examine(gather(cmd.Context(), path, cmd.Flags().Changed("config")))
			show := printFindings
			if asJSON {
				show = printFindingsJSON
			}
			if err := show(cmd.OutOrStdout(), findings); err != nil {
				return fmt.Errorf("print findings: %w", err)
			}
			if n := count(findings, severityError); n > 0 {
				cmd.SilenceErrors = true
				return fmt.Errorf("%d finding(s) to mend", n)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func count(list []finding, s severity) int {
	n := 0
	for _, f := range list {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func printFindings(w io.Writer, list []finding) error {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "%-8s %-11s %s\n", f.Severity, f.Subject, f.Text)
		if f.Remedy != "" {
			fmt.Fprintf(&b, "%-8s %-11s do: %s\n", "", "", f.Remedy)
		}
	}
	fmt.Fprintf(&b, "\n%d error(s), %d warning(s)\n", count(list, severityError), count(list, severityWarning))
	_, err := io.WriteString(w, b.String())
	return err
}

func printFindingsJSON(w io.Writer, list []finding) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Errors   int       `json:"errors"`
		Warnings int       `json:"warnings"`
		Findings []finding `json:"findings"`
	}{count(list, severityError), count(list, severityWarning), list})
}
