package rivals

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Identity is what /proc says of a process that is not a suspect but known to have done something.
type Identity struct {
	// Name is the kernel's, Command the command line, Exe the program's path.
	Name, Command, Exe string
	// Unit is the systemd unit, Container the engine and identifier of the container. Empty: none.
	Unit, Container string
}

// Identify reads one process of a /proc. What may not be read stays empty; the error is that there is no
// such process.
func Identify(proc fs.FS, pid int) (Identity, error) {
	s, dir := Scanner{Proc: proc}, strconv.Itoa(pid)+"/"
	status, err := s.read(dir + "status")
	if err != nil {
		return Identity{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	p, err := parseStatus(status)
	if err != nil {
		return Identity{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	id := Identity{Name: p.comm}
	if text, err := s.read(dir + "cmdline"); err == nil {
		id.Command = shorten(strings.Join(parseCommand(text), " "))
	}
	if exe, err := fs.ReadLink(proc, dir+"exe"); err == nil {
		id.Exe = printable(exe)
	}
	if text, err := s.read(dir + "cgroup"); err == nil {
		id.Unit, id.Container = parseCgroup(text)
	}
	if id.Container == "" && p.nested {
		id.Container = ownNamespace
	}
	return id, nil
}

// Home reads the text of a /proc/PID/cgroup: the systemd unit, and the container. Empty: none.
func Home(cgroup []byte) (unit, container string) { return parseCgroup(cgroup) }

// ownNamespace is what a container is called of which no more is known.
const ownNamespace = "a PID namespace of its own"

// maxCommand bounds a command line for people, in bytes.
const maxCommand = 256

func shorten(command string) string {
	if len(command) > maxCommand {
		return strings.ToValidUTF8(command[:maxCommand], "")
	}
	return command
}
