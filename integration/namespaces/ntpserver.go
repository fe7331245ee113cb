package namespaces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"clockarbiter/chrony"
)

// NTPServer is a real chronyd at stratum 1 in a node of its own. Its reference clock is CLOCK_REALTIME
// plus a lie, and because it runs with -x the lie moves its virtual clock and nothing else.
type NTPServer struct {
	world   *World
	node    *node
	process *Process
	// lie is in nanoseconds.
	lie atomic.Int64
}

// AddNTPServer starts an NTP server that the host reaches through an interface of that name.
func (w *World) AddNTPServer(name string) (*NTPServer, error) {
	n, err := w.addNode(name)
	if err != nil {
		return nil, err
	}
	s := &NTPServer{world: w, node: n}
	w.conditions = append(w.conditions, condition{name: name, wait: s.WaitTold})
	feed := chrony.NewFeed(s.feedPath(), s.told, slog.New(slog.DiscardHandler))
	w.alongside(func(ctx context.Context) { _ = feed.Run(ctx) }) // It ends with the world, and with nothing else.
	return s, s.Start()
}

// Address is where the server answers.
func (s *NTPServer) Address() netip.Addr { return s.node.address }

// Interface is the host's interface that leads to the server.
func (s *NTPServer) Interface() string { return s.node.name }

// Lie makes the server serve the truth plus offset from about a second later on. 0 is the truth.
func (s *NTPServer) Lie(offset time.Duration) { s.lie.Store(int64(offset)) }

// told is what the reference clock says of CLOCK_REALTIME.
func (s *NTPServer) told() time.Duration { return time.Duration(s.lie.Load()) }

// Stop ends the server's process; its clients hear nothing more.
func (s *NTPServer) Stop() error { return s.process.Stop() }

// Start starts the process, for the first time or again.
func (s *NTPServer) Start() error {
	chronyd, err := s.world.Tool("chronyd")
	if err != nil {
		return err
	}
	file := filepath.Join(s.node.dir, "chrony.conf")
	if err := os.WriteFile(file, []byte(s.configuration()), 0o644); err != nil {
		return err
	}
	s.process, err = s.world.startOn(s.node, chronyd, "-x", "-d", "-u", "root", "-f", file)
	return err
}

// configuration is chronyd's. There is no makestep: the virtual clock of -x cannot step, and an offset
// that is to be slewed moves it at once. The last four samples are remembered and maxdrift keeps a new lie
// from being taken for a frequency, so that it is told within a second and then stays what it is.
func (s *NTPServer) configuration() string {
	return strings.Join([]string{
		"refclock SOCK " + s.feedPath() + " refid TRUE poll -2 dpoll -2 filter 1 maxsamples 4 precision 1e-8 delay 1e-6",
		"maxdrift 1",
		"bindcmdaddress " + filepath.Join(s.node.dir, "chronyd.sock"),
		"pidfile " + filepath.Join(s.node.dir, "chronyd.pid"),
		"cmdport 0",
		"leapsecmode ignore",
		"allow",
	}, "\n") + "\n"
}

func (s *NTPServer) feedPath() string { return filepath.Join(s.node.dir, "feed.sock") }

// tolerance is how near to its lie a server's answer must be to count as told: far above the noise of
// a loaded machine, far below any lie worth telling.
const tolerance = time.Millisecond

// WaitTold waits until the server answers at stratum 1 with the truth plus its lie.
func (s *NTPServer) WaitTold(ctx context.Context) error {
	for {
		answer, err := queryNTP(ctx, s.Address())
		want := s.told()
		if err == nil && answer.stratum == 1 && (answer.offset-want).Abs() < tolerance {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err, fmt.Errorf("the last answer was %v at stratum %d, not %v at stratum 1",
				answer.offset, answer.stratum, want))
		case <-s.process.Done():
			return fmt.Errorf("chronyd ended: %v", s.process.state())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
