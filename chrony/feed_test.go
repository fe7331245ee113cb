package chrony

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// The sample stands in the layout of a 64-bit machine: timeval, double, four ints.
func TestEncodeSample(t *testing.T) {
	p := encodeSample(time.Unix(1_700_000_000, 123_456_789), 15*time.Millisecond)
	if len(p) != 40 {
		t.Fatalf("%d bytes, want 40", len(p))
	}
	u64, u32 := binary.NativeEndian.Uint64, binary.NativeEndian.Uint32
	if u64(p) != 1_700_000_000 || u64(p[8:]) != 123_456 || math.Float64frombits(u64(p[16:])) != 0.015 {
		t.Errorf("time and offset: % x", p[:24])
	}
	if u32(p[24:]) != 0 || u32(p[28:]) != 0 || u32(p[36:]) != 0x534f434b {
		t.Errorf("pulse, leap, magic: % x", p[24:])
	}
}

// The feed waits for a chronyd, feeds it, and finds the next one.
func TestFeedFollowsChronyd(t *testing.T) {
	path := filepath.Join(shortDir(t), "refclock.sock")
	f := NewFeed(path, func() time.Duration { return -time.Second }, slog.New(slog.DiscardHandler))
	f.interval = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	for range 2 {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 100)
		n, err := conn.Read(p)
		if err != nil || n != len(encodeSample(time.Now(), 0)) || math.Float64frombits(binary.NativeEndian.Uint64(p[16:])) != -1 {
			t.Errorf("% x, %v", p[:n], err)
		}
		conn.Close()
		remove(t, path)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A clock that is not ready is not fed.
func TestFeedWaitsUntilReady(t *testing.T) {
	path := filepath.Join(shortDir(t), "refclock.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f := NewFeed(path, nil, slog.New(slog.DiscardHandler))
	defer f.hangUp()
	ready := false
	f.Ready = func() bool { return ready }
	for _, want := range []bool{false, true} {
		ready = want
		if err := f.send(time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 100)); (err == nil) != want {
			t.Errorf("ready %v: read %v", want, err)
		}
	}
}
