package recording

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Files are numbered through, never dated: a clock that is wrong at the start of a run must not put a
// file in the wrong place of the row.
const (
	filePrefix = "recording-"
	fileSuffix = ".jsonl.gz"
	fileMode   = 0o640
	dirMode    = 0o750
	// shortFiles is how many times more files there may be than of full size.
	shortFiles = 16
)

// folder is the directory of the recordings.
type folder struct {
	path    string
	maxSize int64
	keep    int
}

// openFolder makes the directory where it is missing. One that others than its owner can write to, that
// belongs to somebody else, or that is a link, is refused: the supervisor writes there as root.
func openFolder(path string, maxSize int64, keep int) (folder, error) {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return folder{}, fmt.Errorf("make the directory of the recordings: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return folder{}, fmt.Errorf("look at the directory of the recordings: %w", err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return folder{}, fmt.Errorf("%s is not a directory", path)
	case st.Mode&0o022 != 0:
		return folder{}, fmt.Errorf("%s can be written by others (mode %04o): chmod go-w %s", path, st.Mode&0o7777, path)
	case int(st.Uid) != os.Geteuid() && st.Uid != 0:
		return folder{}, fmt.Errorf("%s belongs to user %d, who could exchange what is in it", path, st.Uid)
	}
	return folder{path: path, maxSize: maxSize, keep: keep}, nil
}

// Files lists the recordings of a directory, oldest first.
func Files(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	var names []string
	for _, e := range list {
		if _, ok := sequenceOf(e.Name()); ok && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		m, _ := sequenceOf(a)
		n, _ := sequenceOf(b)
		return m - n
	})
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
	}
	return names, nil
}

// sequenceOf returns the number of a recording by its name.
func sequenceOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(filepath.Base(name), filePrefix)
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, fileSuffix); !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0
}

// create opens the file of the next number.
func (f folder) create() (*os.File, int, error) {
	files, err := Files(f.path)
	if err != nil {
		return nil, 0, err
	}
	next := 1
	if len(files) > 0 {
		last, _ := sequenceOf(files[len(files)-1])
		next = last + 1
	}
	path := filepath.Join(f.path, fmt.Sprintf("%s%06d%s", filePrefix, next, fileSuffix))
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return nil, 0, fmt.Errorf("make a recording: %w", err)
	}
	return file, next, nil
}

// prune removes the oldest files until there is room for the newest to grow. It counts bytes first, so
// that a row of short files (a program that starts again and again, a full disk) does not push the
// history out.
func (f folder) prune() error {
	files, err := Files(f.path)
	if err != nil {
		return err
	}
	older := files[:max(0, len(files)-1)]
	room := int64(f.keep-1) * f.maxSize
	kept := 0
	for i := len(older) - 1; i >= 0; i-- {
		if info, err := os.Lstat(older[i]); err == nil {
			room -= info.Size()
		}
		if kept++; room < 0 || kept >= f.keep*shortFiles {
			return f.remove(older[:i+1])
		}
	}
	return nil
}

func (f folder) remove(files []string) error {
	var errs []error
	for _, name := range files {
		errs = append(errs, os.Remove(name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove an old recording: %w", err)
	}
	return nil
}
