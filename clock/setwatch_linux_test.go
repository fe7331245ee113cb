package clock

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSetWatchOnThisMachine: nobody sets this machine's clock, so the watch stays silent and ends in time.
func TestSetWatchOnThisMachine(t *testing.T) {
	w, err := NewSetWatch()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-w.C:
		t.Error("says that the clock was set")
	default:
	}
}

// TestSetWatchWakesOnce has a pipe for a timer: what is written to it is a change of the clock.
func TestSetWatchWakesOnce(t *testing.T) {
	r, changes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := newSetWatch(r)
	done := make(chan error)
	go func() { done <- w.Run(t.Context()) }()
	for range 3 {
		if _, err := changes.Write(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-w.C:
	case <-time.After(5 * time.Second):
		t.Fatal("not woken")
	}
	changes.Close()
	if err := <-done; err == nil {
		t.Error("a timer that ended is no error")
	}
	n := 0
	for len(w.C) > 0 {
		<-w.C
		n++
	}
	if n > 1 {
		t.Errorf("%d more wakes wait, want at most one", n)
	}
}

// TestSetWatchTimerIsCancelOnSet reads back from the kernel how the timer is armed (proc_pid_fdinfo(5)).
func TestSetWatchTimerIsCancelOnSet(t *testing.T) {
	w, err := NewSetWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.file.Close()
	info, err := fdinfo(w.file)
	if err != nil {
		t.Fatal(err)
	}
	want := unix.TFD_TIMER_ABSTIME | unix.TFD_TIMER_CANCEL_ON_SET
	if info["clockid"] != 0 || info["settime flags"] != want {
		t.Errorf("clock %d, flags %#o; want CLOCK_REALTIME, %#o", info["clockid"], info["settime flags"], want)
	}
}

// fdinfo returns the whole numbers that the kernel tells of a descriptor; flags are octal.
func fdinfo(f *os.File) (map[string]int, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var text []byte
	var readErr error
	if err := conn.Control(func(fd uintptr) { text, readErr = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd)) }); err != nil {
		return nil, err
	}
	out := map[string]int{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseInt(strings.TrimSpace(value), 0, 64); err == nil {
			out[key] = int(n)
		}
	}
	return out, readErr
}
