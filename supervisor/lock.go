package supervisor

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lockPath takes an exclusive lock, which the kernel drops when this process ends however it ends.
// The file holds our PID so that a second supervisor can say who has it.
func lockPath(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		owner, readErr := io.ReadAll(io.LimitReader(f, 64))
		if readErr != nil || len(owner) == 0 {
			owner = []byte("unknown")
		}
		return nil, fmt.Errorf("another clockarbiter (pid %s) holds %s: stop it, or set paths.run_dir", strings.TrimSpace(string(owner)), path)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return func() { f.Close() }, nil
}
