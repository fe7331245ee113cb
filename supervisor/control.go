package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The control protocol: root connects, sends one verb and a newline, reads one line, "ok" or what went
// wrong. It has a socket of its own, which only root can open, so that the status socket, which
// everybody may read, never takes any input.
const (
	controlSocket  = "control.sock"
	controlTimeout = 2 * time.Second
	// reloadTimeout bounds a reload: the look at the host is the longest part of it.
	reloadTimeout   = 2 * probeTimeout
	maxControlBytes = 64
	maxAnswerBytes  = 64 << 10
	verbReload      = "reload"
)

// controlServer answers root, one client at a time.
type controlServer struct {
	path   string
	reload func(context.Context) error
	log    *slog.Logger
}

// run serves until ctx is done.
func (s *controlServer) run(ctx context.Context) error {
	ln, err := listenUnix(ctx, s.path, 0o600)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("control socket %s: %w", s.path, err)
		case err != nil:
			s.log.Warn("control client not accepted", "error", err)
			pause(ctx, acceptPause)
		default:
			s.serve(ctx, conn)
		}
	}
}

// serve takes one verb of one client.
func (s *controlServer) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	answer := "ok"
	if err := s.obey(ctx, conn); err != nil {
		answer = err.Error()
		s.log.Warn("control request not carried out", "error", err)
	}
	if err := conn.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return // the client is gone already
	}
	if _, err := fmt.Fprintln(conn, answer); err != nil {
		s.log.Debug("control answer not delivered", "error", err)
	}
}

// obey reads the verb and does what it says.
func (s *controlServer) obey(ctx context.Context, conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return err
	}
	verb, err := readVerb(conn)
	if err != nil {
		return err
	}
	// Not before: who hangs up on what it has not read takes its own answer back.
	peer, err := peerOf(conn)
	if err != nil {
		return err
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d may not: only root may change what the supervisor does", peer.Uid)
	}
	if verb != verbReload {
		return fmt.Errorf("unknown request %q", verb)
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	return s.reload(ctx)
}

// readVerb reads a line that is not longer than a verb.
func readVerb(r io.Reader) (string, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(r, maxControlBytes), maxControlBytes).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no request within %v and %d bytes", controlTimeout, maxControlBytes)
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// peerOf is who is at the other end, by the kernel's word (unix(7), SO_PEERCRED).
func peerOf(conn net.Conn) (*unix.Ucred, error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a Unix socket")
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("look at the peer: %w", err)
	}
	var peer *unix.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, fmt.Errorf("look at the peer: %w", err)
	}
	if peerErr != nil {
		return nil, fmt.Errorf("look at the peer: %w", peerErr)
	}
	return peer, nil
}

// RequestReload asks the supervisor behind the control socket to read its configuration again, and
// returns when it has done so. The error is the supervisor's: what is wrong with the new configuration.
func RequestReload(ctx context.Context, path string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("no supervisor answers: %w (is clockarbiter running, are you root, and is this its socket?)", err)
	}
	defer conn.Close()
	if d, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(d); err != nil {
			return fmt.Errorf("request reload: %w", err)
		}
	}
	if _, err := fmt.Fprintln(conn, verbReload); err != nil {
		return fmt.Errorf("request reload: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("request reload: %w", err)
	}
	if text := strings.TrimSpace(string(answer)); text != "ok" {
		return errors.New(firstOf(text, "request reload: the supervisor went away"))
	}
	return nil
}
