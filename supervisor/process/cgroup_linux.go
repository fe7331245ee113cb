package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The unified hierarchy (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).
const (
	cgroupMount = "/sys/fs/cgroup"
	// ownGroup is the leaf that this process moves to: a group with controllers for its children may
	// hold no process itself.
	ownGroup = "supervisor"
	// childPrefix keeps the groups of children apart from any other.
	childPrefix = "child-"
	// removeTimeout bounds the wait for a killed group to be empty.
	removeTimeout = time.Second
	removePause   = 5 * time.Millisecond
)

// ErrNotDelegated says that there is no cgroup to give children groups of their own in.
var ErrNotDelegated = errors.New("no cgroup is delegated to this process")

// Cgroups is a subtree of the unified hierarchy that was delegated to this process, in which each child
// gets a group of its own: with limits, and with an end that no grandchild escapes.
type Cgroups struct{ dir string }

// Delegated takes the subtree that the service manager has delegated to this process (systemd's
// Delegate=), moves the process to a leaf of it, and removes what an earlier run left. The error is
// ErrNotDelegated, or says what is missing; children get a process group and resource limits all the same.
func Delegated() (*Cgroups, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("read own cgroup: %w", err)
	}
	where, err := unifiedPath(string(own))
	if err != nil {
		return nil, err
	}
	return delegated(cgroupMount, where, os.Getpid())
}

// unifiedPath is the path in the unified hierarchy of the text of a /proc/PID/cgroup.
func unifiedPath(text string) (string, error) {
	for line := range strings.Lines(text) {
		if where, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return where, nil
		}
	}
	return "", fmt.Errorf("%w: the unified hierarchy is not in use", ErrNotDelegated)
}

func delegated(mount, where string, pid int) (*Cgroups, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("%w: %s is not the unified hierarchy", ErrNotDelegated, mount)
	}
	c := &Cgroups{dir: filepath.Join(mount, strings.TrimSuffix(where, "/"+ownGroup))}
	var mark [8]byte
	if n, err := unix.Getxattr(c.dir, "user.delegate", mark[:]); err != nil || string(mark[:n]) != "1" {
		return nil, fmt.Errorf("%w: %s is not marked for it (Delegate= in the unit)", ErrNotDelegated, c.dir)
	}
	return c, c.prepare(pid)
}

// prepare moves the process out of the way and hands the controllers down.
func (c *Cgroups) prepare(pid int) error {
	leaf := filepath.Join(c.dir, ownGroup)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	if err := setCgroup(leaf, "cgroup.procs", strconv.Itoa(pid)); err != nil {
		return err
	}
	for _, controller := range []string{"memory", "pids"} {
		if err := setCgroup(c.dir, "cgroup.subtree_control", "+"+controller); err != nil {
			return err
		}
	}
	left, err := filepath.Glob(filepath.Join(c.dir, childPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for cgroups that are left: %w", err)
	}
	for _, dir := range left {
		if err := (&cgroup{dir: dir}).remove(); err != nil {
			return err
		}
	}
	return nil
}

// String is the path of the subtree.
func (c *Cgroups) String() string { return c.dir }

// cgroup is that of one run of a child.
type cgroup struct{ dir string }

// enter makes a fresh group for a child, with its limits.
func (c *Cgroups) enter(name string, l Limits) (*cgroup, error) {
	g := &cgroup{dir: filepath.Join(c.dir, childPrefix+cgroupName(name))}
	if err := g.remove(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	for _, s := range g.settings(l) {
		if err := setCgroup(g.dir, s.file, s.value); err != nil {
			return nil, errors.Join(err, g.remove())
		}
	}
	return g, nil
}

type cgroupSetting struct{ file, value string }

// settings are those of a group with such limits.
func (g *cgroup) settings(l Limits) []cgroupSetting {
	var list []cgroupSetting
	if l.MaxGroupMemory > 0 {
		// All of the child is killed where a part of it exceeds the limit: half a child is none.
		list = append(list, cgroupSetting{"memory.oom.group", "1"}, cgroupSetting{"memory.max", strconv.FormatUint(l.MaxGroupMemory, 10)})
		if _, err := os.Stat(filepath.Join(g.dir, "memory.swap.max")); err == nil { // a kernel without swap has none
			list = append(list, cgroupSetting{"memory.swap.max", "0"})
		}
	}
	if l.MaxTasks > 0 {
		list = append(list, cgroupSetting{"pids.max", strconv.FormatUint(l.MaxTasks, 10)})
	}
	return list
}

// cgroupName makes a name that is one part of a path.
func cgroupName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' {
			return '_'
		}
		return r
	}, name)
}

// door is where a process enters the group: the shim, before it does anything else. clone3(2), by which it
// could be born there, is not to be had under systemd's RestrictNamespaces=.
func (g *cgroup) door() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(g.dir, "cgroup.procs"), os.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup: %w", err)
	}
	return f, nil
}

// enterCgroup moves the calling process through a door.
func enterCgroup(door *os.File) error {
	_, err := door.WriteString("0") // the writer itself
	if err := errors.Join(err, door.Close()); err != nil {
		return fmt.Errorf("enter cgroup: %w", err)
	}
	return nil
}

// kill ends every process in the group, whatever group of processes it has fled to.
func (g *cgroup) kill() error {
	if err := setCgroup(g.dir, "cgroup.kill", "1"); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	pids, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs")) // before Linux 5.14
	for field := range strings.FieldsSeq(string(pids)) {
		if pid, convErr := strconv.Atoi(field); convErr == nil && pid > 1 {
			err = errors.Join(err, unix.Kill(pid, unix.SIGKILL))
		}
	}
	return err
}

// overrun reports whether the kernel has killed for memory in the group.
func (g *cgroup) overrun() bool {
	text, err := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == "oom_kill" {
			return value != "0"
		}
	}
	return false
}

// remove kills what is in the group and removes it. A group that is not there is removed.
func (g *cgroup) remove() error {
	for end := time.Now().Add(removeTimeout); ; time.Sleep(removePause) {
		err := unix.Rmdir(g.dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("remove cgroup %s: %w", g.dir, err)
		}
		if err := g.kill(); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
}

func setCgroup(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set cgroup: %w", err)
	}
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set cgroup: %w", err)
	}
	return nil
}
