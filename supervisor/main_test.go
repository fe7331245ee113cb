package supervisor

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"clockarbiter/supervisor/process"
)

// TestMain is the shim of the children that the tests start, or runs the tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == process.ShimArgument {
		fmt.Fprintln(os.Stderr, process.RunShim(os.Args[2:]))
		syscall.Exit(127)
	}
	os.Exit(m.Run())
}

// memoryJournal keeps what was written.
type memoryJournal struct {
	mu      sync.Mutex
	entries []Entry
}

func (j *memoryJournal) Write(e Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return nil
}

// messages returns the texts of all entries of a kind.
func (j *memoryJournal) messages(id MessageID) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, e := range j.entries {
		if e.ID == id {
			out = append(out, e.Message)
		}
	}
	return out
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func contains(list []string, part string) bool {
	for _, s := range list {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}
