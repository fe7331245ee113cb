package vm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// snapshotName is the name of the snapshot inside the disk image.
const snapshotName = "booted"

// settled waits until systemd has nothing more to start.
const settled = "systemctl is-system-running --wait || systemctl --failed --no-pager; sync"

// ensureSnapshot returns the disk image with the snapshot of a booted guest, booting it first where
// there is none for these builds. A snapshot carries the machine's TSC rate and is never shared with
// another machine.
func ensureSnapshot(b builds, mode Mode) (string, error) {
	key := sha256.Sum256([]byte(b.qemu + b.guest + fmt.Sprint((&Guest{mode: mode}).arguments(b, "disk"))))
	path := filepath.Join(filepath.Dir(b.guest), fmt.Sprintf("snapshot-%s-%x.qcow2", mode, key[:8]))
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := makeSnapshot(b, mode, path); err != nil {
		return "", fmt.Errorf("make snapshot: %w", err)
	}
	return path, nil
}

func makeSnapshot(b builds, mode Mode, path string) error {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temporary directory harms nobody
	disk := path + ".tmp"
	create := exec.Command(filepath.Join(b.qemu, "bin", "qemu-img"), "create", "-q", "-f", "qcow2",
		"-b", filepath.Join(b.guest, "root.ext4"), "-F", "raw", disk)
	if out, err := create.CombinedOutput(); err != nil {
		return fmt.Errorf("qemu-img: %w: %s", err, out)
	}
	g, err := launch(b, mode, dir, disk)
	if err != nil {
		return err
	}
	_, _, err = g.Try(settled)
	if err == nil {
		err = g.monitor.human("savevm " + snapshotName)
	}
	if err := errors.Join(err, g.Stop()); err != nil {
		return err
	}
	return os.Rename(disk, path)
}

// lockFile keeps two tests from making the same thing.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks, and nothing was written
}
