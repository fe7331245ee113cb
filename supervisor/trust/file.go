// Package trust tells whether a file can be believed: whether anybody but root and this process's user
// could have written it. It reads no contents and changes nothing.
package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// writableByOthers are the mode bits that let more than the owner write.
const writableByOthers = 0o022

// ErrWritable says that a file or its directory can be written by others.
var ErrWritable = errors.New("can be written by others")

// maxLinks bounds the symbolic links of one path, as the kernel does (path_resolution(7)).
const maxLinks = 40

// File returns nil when path, with symbolic links followed, is a regular file that nobody but root and
// our own user could have written or put there: the file, every directory on the way and every link
// belong to one of the two, and neither file nor directory is writable by group or others. A directory with
// the sticky bit, such as /tmp, protects what is in it well enough. The error wraps ErrWritable, or is the
// operating system's.
func File(path string) error {
	whole := path
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		whole = here + "/" + path // not joined: ".." after a link is not what it looks like
	}
	at, rest := "/", parts(whole)
	if err := check(at); err != nil {
		return err
	}
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at) // at has no links
			continue
		}
		next := filepath.Join(at, name)
		st, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if st.Mode().Type() == fs.ModeSymlink {
			if at, rest, err = follow(at, next, st, rest); err != nil {
				return err
			}
			if links++; links > maxLinks {
				return fmt.Errorf("%s: more than %d symbolic links", path, maxLinks)
			}
			continue
		}
		if err := ours(next, st); err != nil {
			return err
		}
		at = next
	}
	if st, err := os.Lstat(at); err != nil || !st.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s is not a regular file", path), err)
	}
	return nil
}

// parts are the names of a path.
func parts(path string) []string { return strings.Split(path, "/") }

// check is ours of a path.
func check(path string) error {
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return ours(path, st)
}

// follow returns where a link in directory at leads, and what is left of the way then. Its mode says nothing;
// its owner may replace it.
func follow(at, link string, st fs.FileInfo, rest []string) (string, []string, error) {
	if err := owned(link, st); err != nil {
		return "", nil, err
	}
	target, err := os.Readlink(link)
	if err != nil {
		return "", nil, err
	}
	if filepath.IsAbs(target) {
		at = "/"
	}
	return at, append(parts(target), rest...), nil
}

// ours checks owner and mode of one file or directory.
func ours(path string, st fs.FileInfo) error {
	if err := owned(path, st); err != nil {
		return err
	}
	if st.Mode().Perm()&writableByOthers != 0 && !(st.IsDir() && st.Mode()&fs.ModeSticky != 0) {
		return fmt.Errorf("%s %w: its mode is %03o; use chmod go-w", path, ErrWritable, st.Mode().Perm())
	}
	return nil
}

// owned checks the owner.
func owned(path string, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: the owner is not known", path)
	}
	if sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%s %w: it belongs to user %d; chown it to root", path, ErrWritable, sys.Uid)
	}
	return nil
}
