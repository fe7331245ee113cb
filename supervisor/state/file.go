package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"clockarbiter/supervisor/trust"
)

// FileName is the file in the state directory.
const FileName = "state"

// bootID identifies the run of the kernel.
const bootID = "/proc/sys/kernel/random/boot_id"

// Boot returns what State.Boot of this run of the kernel is, "" when it cannot be told.
func Boot() string {
	text, err := os.ReadFile(bootID)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Load reads the file at path. The error wraps fs.ErrNotExist when there is none, as at the first start,
// and else says why the file is not believed.
func Load(path string) (State, error) {
	if err := trust.File(path); err != nil {
		return State{}, fmt.Errorf("load state: %w", err)
	}
	data, err := read(path)
	if err != nil {
		return State{}, fmt.Errorf("load state: %w", err)
	}
	s, err := Decode(data)
	if err != nil {
		return State{}, fmt.Errorf("load state %s: %w", path, err)
	}
	return s, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxBytes+1))
}

// Save replaces the file at path, whole or not at all whatever happens meanwhile, and makes its directory
// where there is none.
func Save(path string, s State) (err error) {
	data, err := Encode(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	beside := path + ".new"
	if err := write(beside, data); err != nil {
		return fmt.Errorf("save state: %w", errors.Join(err, remove(beside)))
	}
	if err := os.Rename(beside, path); err != nil {
		return fmt.Errorf("save state: %w", errors.Join(err, remove(beside)))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

// remove removes what a failed save left, such as half a file on a full disk.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// syncDir makes the rename outlive a loss of power.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
