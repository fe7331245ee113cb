package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

func TestWaitEndsWhenTheClockIsRightAndNotBefore(t *testing.T) {
	good := supervisor.Status{Mode: "locked", Clock: supervisor.ClockStatus{Synchronised: true, BoundNS: sources.Some(20 * time.Microsecond)}}
	for _, tc := range []struct {
		name   string
		change func(*supervisor.Status)
		bound  time.Duration
		want   bool
	}{
		{"synchronised", func(*supervisor.Status) {}, 0, true},
		{"within the bound", func(*supervisor.Status) {}, 20 * time.Microsecond, true},
		{"beyond the bound", func(*supervisor.Status) {}, 19 * time.Microsecond, false},
		{"without a bound where one is asked for", func(s *supervisor.Status) { s.Clock.BoundNS = sources.None[time.Duration]() }, time.Second, false},
		{"not synchronised", func(s *supervisor.Status) { s.Clock.Synchronised = false }, 0, false},
		{"of a loop that is stuck", func(s *supervisor.Status) { s.AgeNS = time.Minute }, 0, false},
	} {
		st := good
		tc.change(&st)
		if got := satisfied(st, tc.bound); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestWaitIsBoundedAndSaysWhatItWaitedFor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "status.sock")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := waitSynchronised(ctx, socket, 0); err == nil || !strings.Contains(err.Error(), "is clockarbiter running") {
		t.Errorf("nobody answers: %v", err)
	}
	var synchronised atomic.Bool
	server := supervisor.NewStatusServer(socket, func() (supervisor.Status, bool) {
		return supervisor.Status{Mode: "acquiring", Clock: supervisor.ClockStatus{Synchronised: synchronised.Load()}}, true
	}, slog.New(slog.DiscardHandler))
	serverCtx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _ = server.Run(serverCtx) }() // its end is the test's
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := waitSynchronised(ctx, socket, 0); err == nil || !strings.Contains(err.Error(), "mode acquiring") {
		t.Errorf("not synchronised: %v", err)
	}
	synchronised.Store(true)
	if _, err := waitSynchronised(t.Context(), socket, 0); err != nil {
		t.Error(err)
	}
}
