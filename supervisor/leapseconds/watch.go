package leapseconds

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/supervisor/trust"
)

// What may stand for the name of a file.
const (
	Auto = "auto" // the first of Candidates that exists
	None = "none" // no file is used
)

// lookEvery is how often a file is looked at: a leap second is announced months before.
const lookEvery = time.Minute

// Candidates are where systems keep the table of the IERS, the usual place first.
func Candidates() []string {
	return []string{"/usr/share/zoneinfo/leap-seconds.list", "/etc/ntp/leap-seconds.list", "/var/lib/ntp/leap-seconds.list"}
}

// Read reads the table that a setting names: a path, Auto or None. It never fails: a file that cannot be
// read or is not believed has a Problem, and where there is none the path is empty as well.
func Read(setting string) arbiter.LeapTable {
	switch setting {
	case None:
		return arbiter.LeapTable{}
	case Auto:
		for _, path := range Candidates() {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				return read(path)
			}
		}
		return arbiter.LeapTable{Problem: "there is no leap-seconds.list; tzdata has one"}
	default:
		return read(setting)
	}
}

func read(path string) arbiter.LeapTable {
	t, err := load(path)
	if err != nil {
		return arbiter.LeapTable{Path: path, Problem: err.Error()}
	}
	t.Path = path
	return t
}

func load(path string) (arbiter.LeapTable, error) {
	if err := trust.File(path); err != nil {
		return arbiter.LeapTable{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return arbiter.LeapTable{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return arbiter.LeapTable{}, err
	}
	return Parse(text)
}

// Watcher reads the table at start, when it changes, and when it is told to.
type Watcher struct {
	// C delivers the table, first as it is at start, then as often as it is another one.
	C <-chan arbiter.LeapTable

	c       chan arbiter.LeapTable
	setting string
	reread  chan string
	every   time.Duration
}

// NewWatcher returns a watcher of the table that a setting names; Run has to be started.
func NewWatcher(setting string) *Watcher {
	c := make(chan arbiter.LeapTable)
	return &Watcher{C: c, c: c, setting: setting, reread: make(chan string, 1), every: lookEvery}
}

// Reread has the table read again at once, by another setting. It never blocks: the newest setting counts.
// One goroutine calls it.
func (w *Watcher) Reread(setting string) {
	select {
	case <-w.reread:
	default:
	}
	w.reread <- setting
}

// Run reads until ctx is done. The file is a few kilobytes, so it is read to see whether it has changed:
// no stamp of a file tells that for certain.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	last := Read(w.setting)
	if !w.deliver(ctx, last) {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case w.setting = <-w.reread:
		case <-tick.C:
		}
		if now := Read(w.setting); !same(now, last) {
			if !w.deliver(ctx, now) {
				return
			}
			last = now
		}
	}
}

func (w *Watcher) deliver(ctx context.Context, t arbiter.LeapTable) bool {
	select {
	case w.c <- t:
		return true
	case <-ctx.Done():
		return false
	}
}

func same(a, b arbiter.LeapTable) bool {
	return a.Path == b.Path && a.Problem == b.Problem && a.Expires == b.Expires && slices.Equal(a.Seconds, b.Seconds)
}
