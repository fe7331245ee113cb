// Command clockarbiter is the one owner of a host's system clock: it runs chronyd and ptp4l as
// measuring engines, arbitrates between them and steers. See `clockarbiter help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"clockarbiter/supervisor/process"
)

// version is set by the linker.
var version = "devel"

// Exit codes: 0 all is well, 1 it is not, 2 the command line or the configuration is wrong.
const (
	exitFailure = 1
	exitUsage   = 2
)

// errUsage marks an error that the person at the keyboard or the configuration file has to mend.
var errUsage = errors.New("usage")

func main() {
	// A child starts as a second copy of this binary that gives its privileges away.
	if len(os.Args) > 1 && os.Args[1] == process.ShimArgument {
		fmt.Fprintln(os.Stderr, process.RunShim(os.Args[2:]))
		os.Exit(exitFailure)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		os.Exit(exitUsage)
	default:
		os.Exit(exitFailure)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clockarbiter",
		Short: "One owner for the system clock of a host with NTP and PTP",
		Long: `clockarbiter runs chronyd and ptp4l as measuring engines, arbitrates between the sources of time
that they see, and alone adjusts the system clock.

Exit codes: 0 all is well; 1 it is not; 2 the command line or the configuration is wrong.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: false,
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(runCommand(), checkCommand(), statusCommand(), whyCommand(), replayCommand(), simulateCommand(), probeCommand(), reloadCommand(), releaseCommand(), waitCommand(), doctorCommand())
	return cmd
}

// usageError is an error with exit code 2 that keeps its own text.
type usageError struct{ error }

func (e usageError) Is(target error) bool { return target == errUsage }
func (e usageError) Unwrap() error        { return e.error }
