package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"clockarbiter/ptp"
)

// layOut makes the child's private directory anew, before its adapters bind their sockets in it.
func layOut(c Child) error {
	if err := os.RemoveAll(c.Dir); err != nil {
		return fmt.Errorf("clear run directory of %s: %w", c.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(c.Dir), 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return makePrivate(c.Dir, c.User)
}

// prepare makes the directory fit for a start of the child: what the previous run left is removed, so
// that no stale socket or lock is taken for the new child's, and the configuration is written. The
// sockets of the adapters, which live on, stay.
func prepare(c Child) error {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", c.Name, err)
	}
	for _, e := range entries {
		path := filepath.Join(c.Dir, e.Name())
		if slices.Contains(c.ownSockets(), path) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("prepare %s: %w", c.Name, err)
		}
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

// makePrivate makes a directory that the child's user owns and nobody else may enter: chronyd
// disables its command socket in any other.
func makePrivate(dir string, u User) error {
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make run directory: %w", err)
	}
	return give(dir, u)
}

// give makes the child's user the owner.
func give(path string, u User) error {
	if err := os.Lchown(path, int(u.UID), int(u.GID)); err != nil {
		return fmt.Errorf("give %s to user %s: %w", path, u.Name, err)
	}
	return nil
}
