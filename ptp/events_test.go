package ptp

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func sendTo(t *testing.T, path string, b []byte) {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

func TestEventsArriveThroughGarbageAndAfterTheSocketWasDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.sock")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // a predecessor's
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, done := make(chan Records), make(chan struct{})
	go func() {
		defer close(done)
		receiveRecords(ctx, path, slog.New(slog.DiscardHandler), out)
	}()
	bound := func() {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 && info.Mode().Perm() == 0o666 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the socket is not bound for everybody to write to")
			}
		}
	}
	for range 2 {
		bound()
		sendTo(t, path, []byte("garbage"))
		sendTo(t, path, unhex(t, realSync)[:50])
		sendTo(t, path, unhex(t, realDelay))
		if r := <-out; len(r.Delays) != 1 {
			t.Errorf("received %+v", r)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	bound()
	cancel()
	<-done
	if !removed(path) {
		t.Error("the socket is left behind")
	}
}
