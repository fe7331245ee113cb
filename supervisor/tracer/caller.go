package tracer

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/supervisor/rivals"
)

// Call is one write to the system clock by another process, or one that was refused.
type Call struct {
	// Refused: the kernel said EPERM on our behalf; the clock was not touched.
	Refused bool
	// Monotonic is when, on CLOCK_MONOTONIC.
	Monotonic time.Duration
	PID, TID  int
	UID       uint32
	// Name is the kernel's of the thread, Command the command line, Exe the program's path. What is not
	// known is empty: Exe of a process that has ended.
	Name, Command, Exe string
	// Unit is the systemd unit, Container the engine and identifier of the container. Empty: none, or
	// none that is known.
	Unit, Container string
	// What was written, in words, with figures.
	What string
}

// Age is how long ago the call was.
func (c Call) Age() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0 // cannot fail for this clock
	}
	return max(0, time.Duration(now.Nano())-c.Monotonic)
}

// Who names the caller in one line.
func (c Call) Who() string {
	where := ""
	if c.Unit != "" {
		where += ", " + c.Unit
	}
	if c.Container != "" {
		where += ", in " + c.Container
	}
	return fmt.Sprintf("%s (pid %d, uid %d%s)", c.Name, c.PID, c.UID, where)
}

// finder adds to a record what /proc and the cgroups know. One goroutine owns it.
type finder struct {
	proc    fs.FS
	cgroups string // where the unified hierarchy is mounted
	inode   func(path string) (uint64, error)
	known   map[uint64]string // path of a cgroup by its identifier
}

// Bounds of the search for a cgroup, and of what is remembered.
const (
	maxCgroups = 4096
	maxDepth   = 8
)

func newFinder() finder {
	return finder{proc: os.DirFS("/proc"), cgroups: unifiedMount(), inode: inodeOf, known: map[uint64]string{}}
}

// unifiedMount is where the unified hierarchy is: on hybrid hosts, below the others.
func unifiedMount() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	return ""
}

// inodeOf is a cgroup's identifier.
func inodeOf(dir string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", dir, err)
	}
	return st.Ino, nil
}

// call completes a record. A process that has ended is described by what the kernel said of it at the time
// of the call: its arguments and its cgroup.
func (f *finder) call(r record) Call {
	c := Call{
		Refused: r.hook == hookCapable || r.hook == hookRefusedSet, Monotonic: r.monotonic, PID: r.process, TID: r.thread,
		UID: r.uid, Name: r.name, Command: strings.Join(r.args, " "), What: r.what(),
	}
	// Its number may be another's by now. A thread may have a name of its own.
	if id, err := rivals.Identify(f.proc, r.process); err == nil && (id.Name == r.name || c.Command != "" && strings.HasPrefix(id.Command, c.Command)) {
		c.Command = cmp.Or(id.Command, c.Command) // one that is ending has none any more
		c.Exe, c.Unit, c.Container = id.Exe, id.Unit, id.Container
		if c.Unit != "" || c.Container != "" {
			return c
		} // one that is ending has no cgroup any more either
	}
	where := f.path(r.cgroup)
	if where == "" && r.leaf != "" {
		where = "/" + r.leaf
	}
	c.Unit, c.Container = rivals.Home([]byte("0::" + where + "\n"))
	return c
}

// path finds a cgroup by its identifier. Empty: it is gone, or there are too many.
func (f *finder) path(id uint64) string {
	if f.cgroups == "" || id == 0 {
		return ""
	}
	if where, ok := f.known[id]; ok {
		return where
	}
	if len(f.known) >= maxCgroups {
		clear(f.known)
	}
	left := maxCgroups
	where := f.search("/", id, maxDepth, &left)
	if where != "" {
		f.known[id] = where
	}
	return where
}

func (f *finder) search(at string, id uint64, depth int, left *int) string {
	*left--
	if *left < 0 || depth < 0 {
		return ""
	}
	if ino, err := f.inode(path.Join(f.cgroups, at)); err == nil && ino == id {
		return at
	}
	entries, err := os.ReadDir(path.Join(f.cgroups, at))
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if found := f.search(path.Join(at, e.Name()), id, depth-1, left); found != "" {
			return found
		}
	}
	return ""
}
