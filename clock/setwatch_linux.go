package clock

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// farFuture is when the timer would fire if nobody set the clock: the kernel's largest time, in seconds.
const farFuture = 9_000_000_000

// SetWatch wakes whoever reads C as soon as somebody sets CLOCK_REALTIME, ourselves included. It knows
// neither who nor by how much. It reads a timer and adjusts nothing.
type SetWatch struct {
	// C has one value while the clock was set since it was last received from.
	C    <-chan struct{}
	c    chan struct{}
	file *os.File
}

// NewSetWatch arms the timer (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). The error is the kernel's
// refusal to make one.
func NewSetWatch() (*SetWatch, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch for the clock being set: timerfd_create: %w", err)
	}
	when := unix.ItimerSpec{Value: unix.Timespec{Sec: farFuture}}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &when, nil); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch for the clock being set: timerfd_settime: %w", err)
	}
	return newSetWatch(os.NewFile(uintptr(fd), "timerfd")), nil
}

func newSetWatch(f *os.File) *SetWatch {
	c := make(chan struct{}, 1)
	return &SetWatch{C: c, c: c, file: f}
}

// Run watches until ctx is done and then closes the timer. The error is that of a timer that does not
// work; it is nil when ctx is done.
func (w *SetWatch) Run(ctx context.Context) error {
	defer w.file.Close()
	defer context.AfterFunc(ctx, func() { w.file.Close() })()
	for {
		var expirations [8]byte
		_, err := w.file.Read(expirations[:])
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, unix.ECANCELED):
			return fmt.Errorf("watch for the clock being set: %w", err)
		}
		// The kernel keeps the timer armed after it has told of a change.
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}
