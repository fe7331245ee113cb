package rivals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
)

const (
	// maxProcesses and maxBytes bound a scan: processes looked at, bytes of one file.
	maxProcesses = 20_000
	maxBytes     = 16 << 10
)

// Scanner looks for suspects in /proc.
type Scanner struct {
	// Proc is the /proc to look at.
	Proc fs.FS
	// Owners are the pids of the clock's owner: they and their descendants are no rivals.
	Owners []int
}

// NewScanner returns a scanner of this host's /proc on behalf of this process.
func NewScanner() Scanner { return Scanner{Proc: os.DirFS("/proc"), Owners: []int{os.Getpid()}} }

// Scan returns the suspects, the likeliest first. Processes that end meanwhile, or that this process may
// not look at, are left out. The error is that /proc cannot be listed, or the context's; what was found
// until then is returned too.
func (s Scanner) Scan(ctx context.Context) ([]Suspect, error) {
	pids, err := s.pids()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	found, parents := make([]Suspect, 0, 8), map[int]int{}
	for _, pid := range pids {
		if err = ctx.Err(); err != nil {
			err = fmt.Errorf("look at processes: %w", err)
			break
		}
		p, ok := s.process(pid)
		if !ok {
			continue
		}
		parents[pid] = p.parent
		if suspect, ok := judge(p); ok {
			found = append(found, suspect)
		}
	}
	found = slices.DeleteFunc(found, func(x Suspect) bool { return descends(parents, x.PID, s.Owners) })
	rank(found)
	return found, err
}

func (s Scanner) pids() ([]int, error) {
	entries, err := fs.ReadDir(s.Proc, ".")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids[:min(len(pids), maxProcesses)], nil
}

// process reads one; false when it is gone, may not be read or is a kernel thread.
func (s Scanner) process(pid int) (process, bool) {
	dir := strconv.Itoa(pid) + "/"
	status, err := s.read(dir + "status")
	if err != nil {
		return process{}, false
	}
	p, err := parseStatus(status)
	if err != nil {
		return process{}, false
	}
	p.pid = pid
	command, err := s.read(dir + "cmdline")
	if err != nil || len(command) == 0 {
		return process{}, false // kernel threads and zombies have none
	}
	p.argv = parseCommand(command)
	if !p.mayWrite() && daemonOf(p.comm, p.argv) == "" {
		return p, true // no suspect: spare the rest
	}
	if text, err := s.read(dir + "cgroup"); err == nil {
		p.unit, p.container = parseCgroup(text)
	}
	if text, err := s.read(dir + "uid_map"); err == nil {
		p.mapped = parseMapped(text)
	}
	return p, true
}

func (s Scanner) read(name string) ([]byte, error) {
	f, err := s.Proc.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return text, nil
}

// descends reports whether pid is one of the ancestors or comes from one.
func descends(parents map[int]int, pid int, ancestors []int) bool {
	for range len(parents) + 1 {
		if slices.Contains(ancestors, pid) {
			return true
		}
		parent, ok := parents[pid]
		if !ok || parent <= 0 {
			return false
		}
		pid = parent
	}
	return false
}
