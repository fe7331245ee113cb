package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strconv"
	"time"
)

// The status protocol: connect, read one JSON object, the connection closes. Nothing is read from
// a client, so that no input can disturb the supervisor.
const (
	statusWriteTimeout = 2 * time.Second
	statusMaxClients   = 16
)

// StatusServer answers on a Unix socket with the newest snapshot.
type StatusServer struct {
	path     string
	snapshot func() (Status, bool)
	log      *slog.Logger
	group    string
}

// Restrict lets only root and the members of a group ask; empty: every user may. It is called before Run.
func (s *StatusServer) Restrict(group string) *StatusServer {
	s.group = group
	return s
}

// NewStatusServer prepares a server at path; snapshot must be quick and safe to call from any
// goroutine.
func NewStatusServer(path string, snapshot func() (Status, bool), log *slog.Logger) *StatusServer {
	return &StatusServer{path: path, snapshot: snapshot, log: log}
}

// Run serves until ctx is done. A socket that another live supervisor answers on is an error; one
// that nobody answers on is left over and is replaced.
func (s *StatusServer) Run(ctx context.Context) error {
	ln, err := s.listen(ctx)
	if err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	slots := make(chan struct{}, statusMaxClients)
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("status socket %s: %w", s.path, err)
			}
			s.log.Warn("status client not accepted", "error", err)
			pause(ctx, acceptPause)
			continue
		}
		select {
		case slots <- struct{}{}:
			go func() { defer func() { <-slots }(); s.answer(conn) }()
		default: // too many clients wait already: this one is turned away, not queued
			conn.Close()
		}
	}
}

// listen makes the socket. Status is read-only and holds nothing secret: where no group is named, every
// user of the host may read it.
func (s *StatusServer) listen(ctx context.Context) (net.Listener, error) {
	if s.group == "" {
		return listenUnix(ctx, s.path, 0o666)
	}
	group, err := user.LookupGroup(s.group)
	if err != nil {
		return nil, fmt.Errorf("group %s does not exist: create it, or set paths.status_group: %w", s.group, err)
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", s.group, err)
	}
	ln, err := listenUnix(ctx, s.path, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chown(s.path, -1, gid), os.Chmod(s.path, 0o660)); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

func (s *StatusServer) answer(conn net.Conn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(statusWriteTimeout)); err != nil {
		return // the client is gone already
	}
	st, ok := s.snapshot()
	if !ok {
		st.Mode = "starting"
	}
	if err := json.NewEncoder(conn).Encode(st); err != nil {
		s.log.Debug("status not delivered", "error", err)
	}
}

// maxStatusBytes bounds what a client reads: 64 sources take about 64 KiB.
const maxStatusBytes = 4 << 20

// ReadStatus asks the supervisor behind the socket for its status.
func ReadStatus(ctx context.Context, path string) (Status, error) {
	var st Status
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return st, fmt.Errorf("no supervisor answers: %w (is clockarbiter running, and is this its socket?)", err)
	}
	defer conn.Close()
	if d, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(d); err != nil {
			return st, fmt.Errorf("read status: %w", err)
		}
	}
	if st, err = decodeStatus(conn); err != nil {
		return st, fmt.Errorf("read status from %s: %w", path, err)
	}
	return st, nil
}

// decodeStatus reads an answer of bounded size.
func decodeStatus(r io.Reader) (st Status, err error) {
	err = json.NewDecoder(io.LimitReader(r, maxStatusBytes)).Decode(&st)
	return st, err
}
