package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"clockarbiter/integration/sim"
)

func simulateCommand() *cobra.Command {
	var jsonPath, csvPath, svgPath string
	cmd := &cobra.Command{
		Use:   "simulate SCENARIO.toml",
		Short: "Run a scenario in the simulator: oscillators, networks, sources and faults against this very arbiter",
		Long: `Run a scenario in virtual time, with the packages that the daemon runs: an hour takes seconds, and the
same scenario gives the same result bit for bit. Touches no clock and needs no right.

Exit code 0 when every assertion of the scenario holds, 1 when one does not. - stands for standard output.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return usageError{fmt.Errorf("read scenario: %w", err)}
			}
			scenario, err := sim.LoadScenario(data)
			if err != nil {
				return usageError{fmt.Errorf("%s: %w", args[0], err)}
			}
			result, err := sim.Run(scenario)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err := errors.Join(
				export(cmd.OutOrStdout(), jsonPath, result.WriteJSON),
				export(cmd.OutOrStdout(), csvPath, result.WriteCSV),
				export(cmd.OutOrStdout(), svgPath, result.WriteSVG),
			); err != nil {
				return err
			}
			return summarise(cmd.OutOrStdout(), result)
		},
	}
	cmd.Flags().StringVar(&jsonPath, "json", "", "write all figures and decisions as JSON to this file")
	cmd.Flags().StringVar(&csvPath, "csv", "", "write the true error over time as CSV to this file")
	cmd.Flags().StringVar(&svgPath, "svg", "", "draw the true error over time as SVG into this file")
	return cmd
}

// export writes one form of the result, if it is asked for.
func export(stdout io.Writer, path string, write func(io.Writer) error) error {
	switch path {
	case "":
		return nil
	case "-":
		return write(stdout)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return errors.Join(write(f), f.Close())
}

// summarise prints what a person asks first. Its error names the assertions that did not hold.
func summarise(w io.Writer, r sim.Result) error {
	fmt.Fprintf(w, "%s: %.0f s, seed %d, %d samples\n", r.Name, r.Seconds, r.Seed, r.Samples)
	fmt.Fprintf(w, "true error  rms %.1f ns   99.9 %% %.1f ns   max %.1f ns   within the bound %.3f %%   steps %d\n",
		r.RMS, r.P999, r.Max, 100*r.Bounded, r.Steps)
	for _, c := range r.Selections {
		fmt.Fprintf(w, "%10.2f s  follows %s\n", c.Seconds, c.To)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(w, "%10.2f s  fault: %s: largest error after it %.1f ns\n", f.Seconds, f.Fault, f.Transient)
	}
	if len(r.Broken) == 0 {
		fmt.Fprintln(w, "every assertion holds")
		return nil
	}
	for _, b := range r.Broken {
		fmt.Fprintf(w, "BROKEN      %s\n", b)
	}
	return fmt.Errorf("%s: %d assertion(s) do not hold", r.Name, len(r.Broken))
}
