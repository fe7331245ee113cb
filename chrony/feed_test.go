package chrony

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The sample stands in the layout of a 64-bit machine: timeval, double, four ints.
func TestEncodeSample(t *testing.T) {
	p := encodeSample(time.Unix(1_700_000_000, 123_456_789), 15*time.Millisecond)
	if len(p) != 40 {
		t.Skipf("%d bytes: not a 64-bit machine", len(p))
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
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		p := make([]byte, 100)
		n, err := conn.Read(p)
		if err != nil || n != len(encodeSample(time.Now(), 0)) || math.Float64frombits(binary.NativeEndian.Uint64(p[16:])) != -1 {
			t.Errorf("% x, %v", p[:n], err)
		}
		conn.Close()
		os.Remove(path)
	}
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
}
