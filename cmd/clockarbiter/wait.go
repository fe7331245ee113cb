package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"clockarbiter/supervisor"
)

// waitEvery is how often the supervisor is asked.
const waitEvery = 500 * time.Millisecond

func waitCommand() *cobra.Command {
	var socket string
	var timeout, bound time.Duration
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until the clock is synchronised, for what must not start before",
		Long: `Wait until the clock is synchronised and, with --bound, until its error bound is small enough. A
supervisor that does not answer yet is waited for too.

Exit code 0 when it is, 1 when it was not within the timeout.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			st, err := waitSynchronised(ctx, socket, bound)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "synchronised: %s, following %s, bound %s\n", st.Mode, st.Selected, span(st.Clock.BoundNS))
			return nil
		},
	}
	cmd.Flags().StringVarP(&socket, "socket", "s", defaultSocket, "status socket (paths.status_socket)")
	cmd.Flags().DurationVarP(&timeout, "timeout", "t", 5*time.Minute, "wait no longer than this")
	cmd.Flags().DurationVar(&bound, "bound", 0, "wait until the error bound is at most this; 0: any")
	return cmd
}

// waitSynchronised asks until the answer is yes or ctx ends; the error then says what the last answer was.
func waitSynchronised(ctx context.Context, socket string, bound time.Duration) (supervisor.Status, error) {
	last := errors.New("nobody was asked")
	for {
		st, err := askOnce(ctx, socket)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				last = err
			}
		case satisfied(st, bound):
			return st, nil
		default:
			last = fmt.Errorf("the last answer was: mode %s, bound %s, %s", st.Mode, span(st.Clock.BoundNS), st.Decision.Reason)
		}
		select {
		case <-ctx.Done():
			return supervisor.Status{}, fmt.Errorf("not synchronised: %w; %w", ctx.Err(), last)
		case <-time.After(waitEvery):
		}
	}
}

func askOnce(ctx context.Context, socket string) (supervisor.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	return supervisor.ReadStatus(ctx, socket)
}

// satisfied reports whether a status that is fresh says that the clock is as good as wanted.
func satisfied(st supervisor.Status, bound time.Duration) bool {
	known, ok := st.Clock.BoundNS.Get()
	return st.Clock.Synchronised && st.AgeNS < statusTimeout && (bound == 0 || ok && known <= bound)
}
