package state

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"clockarbiter/supervisor/sealed"
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
	data, err := form.Read(path)
	if err != nil {
		return State{}, fmt.Errorf("load state: %w", err)
	}
	s, err := Decode(data)
	if err != nil {
		return State{}, fmt.Errorf("load state %s: %w", path, err)
	}
	return s, nil
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
	if err := sealed.Replace(path, data, true); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}
