package ptp

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGrantDevice: only what is missing is granted, and to the group alone.
func TestGrantDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a file to another group needs root")
	}
	const user, group, other = 1001, 1002, 1003
	for _, tc := range []struct {
		name     string
		uid, gid int
		mode     os.FileMode
		wantGID  uint32
		wantMode uint32
	}{
		{"root's alone, as the kernel makes it", 0, 0, 0o600, group, 0o660},
		{"root's group may read", 0, 0, 0o640, group, 0o660},
		{"the user owns it", user, other, 0o600, other, 0o600},
		{"a udev rule gave it to the group", 0, group, 0o660, group, 0o660},
		{"the group may only read", 0, group, 0o640, group, 0o660},
		{"everybody may", 0, other, 0o666, other, 0o666},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ptp0")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, tc.uid, tc.gid); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			if err := grantDevice(path, user, group); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				t.Fatal(err)
			}
			if st.Uid != uint32(tc.uid) || st.Gid != tc.wantGID || st.Mode&0o777 != tc.wantMode {
				t.Errorf("owner %d:%d, mode %o; want %d:%d, %o", st.Uid, st.Gid, st.Mode&0o777, tc.uid, tc.wantGID, tc.wantMode)
			}
		})
	}
}
