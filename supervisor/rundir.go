package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"clockarbiter/ptp"
)

// layOut makes the child's private directory anew, before its adapters bind their sockets in it.
func layOut(c Child) error {
	if err := clearOut(c.Dir, nil); err != nil {
		return fmt.Errorf("clear run directory of %s: %w", c.Name, err)
	}
	// One that was made for the child's user beforehand could not be made again by a supervisor that is not root.
	if st, err := os.Lstat(c.Dir); err == nil && !belongs(st, c.User) {
		if err := os.Remove(c.Dir); err != nil {
			return fmt.Errorf("clear run directory of %s: %w", c.Name, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(c.Dir), 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return makePrivate(c.Dir, c.User)
}

// clearOut removes what is in a directory, but for the paths that are kept. One that is not there is
// empty.
func clearOut(dir string, kept []string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if slices.Contains(kept, path) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the directory fit for a start of the child: what the previous run left is removed, so
// that no stale socket or lock is taken for the new child's, and the configuration is written. The
// sockets of the adapters, which live on, stay.
func prepare(c Child) error {
	if err := clearOut(c.Dir, c.ownSockets()); err != nil {
		return fmt.Errorf("prepare %s: %w", c.Name, err)
	}
	if c.chrony != nil {
		if err := makePrivate(c.chrony.DumpDir(), c.User); err != nil {
			return err
		}
	}
	if c.ptp != nil && c.ptp.Mode == ptp.Hardware {
		if err := ptp.GrantPHC(c.ptp.Interfaces[0], c.User.UID, c.User.GID); err != nil {
			return err
		}
	}
	for _, f := range c.Files {
		if err := os.WriteFile(f.Path, []byte(f.Content), 0o640); err != nil {
			return fmt.Errorf("write configuration of %s: %w", c.Name, err)
		}
		if err := give(f.Path, c.User); err != nil {
			return err
		}
	}
	return nil
}

// ownSockets are the sockets in the child's directory that this process binds.
func (c Child) ownSockets() []string {
	if c.chrony != nil {
		return []string{c.chrony.MonitorSocket()}
	}
	return []string{c.ptp.ManagementSocket(), c.ptp.EventMonitorSocket()}
}

// makePrivate makes a directory that the child's user owns and nobody else may enter. chronyd disables its
// command socket in any other: where the supervisor is not root, its directory is there beforehand (the
// unit makes it), and of the others the child's group, which the supervisor is in, is the owner.
func makePrivate(dir string, u User) error {
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make run directory: %w", err)
	}
	return give(dir, u)
}

// give makes the child's user the owner of a directory or a file, or, where the supervisor is not root,
// its group.
func give(path string, u User) error {
	err := os.Lchown(path, int(u.UID), int(u.GID))
	if !errors.Is(err, os.ErrPermission) {
		if err != nil {
			return fmt.Errorf("give %s to user %s: %w", path, u.Name, err)
		}
		return nil
	}
	st, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("give %s to user %s: %w", path, u.Name, err)
	}
	if belongs(st, u) {
		return nil // made for it beforehand
	}
	if err := os.Lchown(path, -1, int(u.GID)); err != nil {
		return fmt.Errorf("give %s to the group of user %s (run as root, or be in that group): %w", path, u.Name, err)
	}
	mode := st.Mode().Perm() | 0o060
	if st.IsDir() {
		mode |= 0o010
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("give %s to the group of user %s: %w", path, u.Name, err)
	}
	return nil
}

// belongs reports whether the child's user and group own a file.
func belongs(st os.FileInfo, u User) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && sys.Uid == u.UID && sys.Gid == u.GID
}
