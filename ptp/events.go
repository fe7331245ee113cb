package ptp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"
)

// EventReceiver receives the datagrams of ptp4l's slave event monitor. It may be opened before or
// after ptp4l starts and survives its restarts: ptp4l sends each datagram to the path anew.
type EventReceiver struct {
	conn *net.UnixConn
	path string
	log  *slog.Logger
}

// ListenEvents binds the socket that ptp4l's slave_event_monitor names.
func ListenEvents(path string, log *slog.Logger) (*EventReceiver, error) {
	conn, err := listenUnixgram(path)
	if err != nil {
		return nil, fmt.Errorf("event monitor socket: %w", err)
	}
	return &EventReceiver{conn: conn, path: path, log: log}, nil
}

// Run hands every datagram's records to out until ctx ends, then removes the socket. Garbage is
// logged and skipped. The error is nil when ctx ended it.
func (r *EventReceiver) Run(ctx context.Context, out chan<- Records) error {
	stop := context.AfterFunc(ctx, func() { r.conn.Close() })
	defer func() {
		r.conn.Close()
		if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("event socket left behind", "path", r.path, "error", err)
		}
	}()
	defer stop()
	buf := make([]byte, maxDatagram)
	for {
		n, _, err := r.conn.ReadFromUnix(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("event monitor socket: %w", err)
		}
		records, err := parseRecords(buf[:n])
		if err != nil {
			r.log.Debug("event datagram dropped", "error", err, "bytes", n)
			continue
		}
		select {
		case out <- records:
		case <-ctx.Done():
			return nil
		}
	}
}

// removed reports whether somebody deleted the socket's path: ptp4l can reach it no more.
func removed(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// retryInterval paces what is tried again for ever.
const retryInterval = time.Second

// receiveRecords keeps an event receiver open, also when its socket cannot be bound at first or is
// deleted later.
func receiveRecords(ctx context.Context, path string, log *slog.Logger, out chan<- Records) {
	for {
		r, err := ListenEvents(path, log)
		if err == nil {
			err = receiveUntilRemoved(ctx, r, out)
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("event monitor lost, trying again", "error", err, "retry_s", retryInterval.Seconds())
		if !pause(ctx, retryInterval) {
			return
		}
	}
}

func receiveUntilRemoved(ctx context.Context, r *EventReceiver, out chan<- Records) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for pause(ctx, retryInterval) && !removed(r.path) {
		}
	}()
	if err := r.Run(ctx, out); err != nil {
		return err
	}
	return fmt.Errorf("event monitor socket: %s was removed", r.path)
}
