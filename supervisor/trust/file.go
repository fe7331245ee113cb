// Package trust tells whether a file can be believed: whether anybody but root and this process's user
// could have written it. It reads no contents and changes nothing.
package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// writableByOthers are the mode bits that let more than the owner write.
const writableByOthers = 0o022

// ErrWritable says that a file or its directory can be written by others.
var ErrWritable = errors.New("can be written by others")

// File returns nil when path, with symbolic links followed, is a regular file that nobody but root and
// our own user could have written or put there: the file and its directory belong to one of the two and
// are not writable by group or others. A directory with the sticky bit, such as /tmp, protects what is
// in it well enough. The error wraps ErrWritable, or is the operating system's.
func File(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	st, err := os.Stat(real)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if err := ours(real, st); err != nil {
		return err
	}
	dir := filepath.Dir(real)
	if st, err = os.Stat(dir); err != nil {
		return err
	}
	return ours(dir, st)
}

// ours checks owner and mode of one file or directory.
func ours(path string, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: the owner is not known", path)
	}
	if sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%s %w: it belongs to user %d; chown it to root", path, ErrWritable, sys.Uid)
	}
	if st.Mode().Perm()&writableByOthers != 0 && !(st.IsDir() && st.Mode()&fs.ModeSticky != 0) {
		return fmt.Errorf("%s %w: its mode is %03o; use chmod go-w", path, ErrWritable, st.Mode().Perm())
	}
	return nil
}
