package ptp

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// GrantPHC lets a group read and adjust the PHC that belongs to the interface now. ptp4l needs that
// and has no capability for it: the device is root's alone where no udev rule says otherwise, and
// CAP_DAC_OVERRIDE would open every other file too. A device that the user can use as it is, or the
// group, is left alone.
func GrantPHC(iface string, uid, gid uint32) error {
	c, err := Probe(iface)
	if err != nil {
		return err
	}
	index, ok := c.PHC.Get()
	if !ok {
		return fmt.Errorf("interface %s has no PHC", iface)
	}
	if err := grantDevice(fmt.Sprintf("/dev/ptp%d", index), uid, gid); err != nil {
		return fmt.Errorf("let ptp4l adjust the PHC of %s: %w", iface, err)
	}
	return nil
}

func grantDevice(path string, uid, gid uint32) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if mayUse(st, uid, gid) {
		return nil
	}
	if err := os.Chown(path, -1, int(gid)); err != nil {
		return fmt.Errorf("a supervisor that is not root takes a udev rule (deploy/udev/60-clockarbiter.rules): %w", err)
	}
	return os.Chmod(path, os.FileMode(st.Mode&0o777|0o060))
}

// mayUse reports whether the permissions let a user of one group read and write. The first class of
// owner, group and others that applies is the only one that counts.
func mayUse(st unix.Stat_t, uid, gid uint32) bool {
	const read, write = 0o4, 0o2
	shift := 0
	switch {
	case st.Uid == uid:
		shift = 6
	case st.Gid == gid:
		shift = 3
	}
	return st.Mode>>shift&(read|write) == read|write
}
