package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ShimArgument is the first argument of the supervisor's own binary when it shall act as the shim:
// main hands the arguments after it to RunShim before it does anything else.
const ShimArgument = "child-exec"

// The descriptors that the shim inherits beside stdin, stdout and stderr.
const (
	orderFD  = 3 // the order, a memory file
	statusFD = 4 // the pipe on which it reports, closed by a successful execve
	cgroupFD = 5 // the way into its cgroup, where it has one
)

// The words of the shim on the status pipe. An execve that succeeds closes the pipe after
// statusReady; one that fails adds statusError and the reason. A pipe that is closed before
// statusReady is a shim that died.
const (
	statusReady = '+'
	statusError = '!'
)

// umask of every child: what it creates is for its group, which a supervisor that is not root is in, and
// nobody else's.
const umask = 0o007

// order is what the supervisor tells the shim: a Spec without what stays in the supervisor.
type order struct {
	ParentPID    int
	Argv         []string
	Dir          string
	Env          []string
	Credential   Credential
	Capabilities []Capability
	Limits       Limits
	// Cgroup: there is one to enter.
	Cgroup bool
}

// RunShim turns the calling process into the child that the supervisor has ordered. It returns only
// an error, which it has also reported to the supervisor; main then exits with a status other than 0.
// args are the arguments after ShimArgument; they serve to tell shims apart in a list of processes.
func RunShim([]string) error {
	// Identity, capabilities and the death signal are a thread's. execve makes the process of the
	// thread that calls it and ends all others.
	runtime.LockOSThread()
	status := os.NewFile(statusFD, "status pipe")
	if status == nil || !isPipe(statusFD) {
		return fmt.Errorf("%s is for the supervisor's own use", ShimArgument)
	}
	o, err := readOrder()
	if err == nil && o.Cgroup {
		err = enterCgroup(os.NewFile(cgroupFD, "cgroup"))
	}
	if err == nil {
		err = o.become(func() error { _, err := status.Write([]byte{statusReady}); return err })
	}
	_, reportErr := status.WriteString(string(statusError) + err.Error())
	if reportErr = errors.Join(reportErr, status.Close()); reportErr != nil {
		return errors.Join(err, fmt.Errorf("report to the supervisor: %w", reportErr))
	}
	return err
}

// isPipe reports whether fd is an open pipe.
func isPipe(fd int) bool {
	var stat unix.Stat_t
	return unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO
}

// readOrder reads the order that the supervisor left in the memory file.
func readOrder() (order, error) {
	text, err := io.ReadAll(io.LimitReader(os.NewFile(orderFD, "order"), maxOrder+1))
	if err != nil {
		return order{}, fmt.Errorf("read order: %w", err)
	}
	return parseOrder(text)
}

// maxOrder bounds an order: what execve(2) takes of arguments and environment is less.
const maxOrder = 4 << 20

// parseOrder reads an order. One without a program is none.
func parseOrder(text []byte) (order, error) {
	var o order
	if len(text) > maxOrder {
		return o, fmt.Errorf("read order: more than %d bytes", maxOrder)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return order{}, fmt.Errorf("read order: %w", err)
	}
	if len(o.Argv) == 0 || o.Argv[0] == "" {
		return order{}, errors.New("read order: no program in it")
	}
	return o, nil
}

// become does all that the order says and executes the program; it returns only an error. ready is
// called when nothing but the limits and the execve is left to do.
func (o order) become(ready func() error) error {
	wanted, err := newCapabilitySet(o.Capabilities)
	if err != nil {
		return err
	}
	id, err := o.Credential.lookup()
	if err != nil {
		return err
	}
	if err := reducePrivileges(wanted, id); err != nil {
		return err
	}
	if err := dieWithParent(o.ParentPID); err != nil {
		return err
	}
	if err := o.enterDir(); err != nil {
		return err
	}
	unix.Umask(umask)
	if err := closeOnExec(orderFD); err != nil {
		return fmt.Errorf("close inherited descriptors: %w", err)
	}
	if err := ready(); err != nil {
		return fmt.Errorf("report to the supervisor: %w", err)
	}
	// Last of all, because they bind this process, too: one that has more memory than the program may have,
	// as under the race detector, dies of the next thread that its runtime wants.
	if err := o.Limits.apply(); err != nil {
		return err
	}
	return explainExec(o.Argv[0], syscall.Exec(o.Argv[0], o.Argv, o.Env))
}

// dieWithParent asks for KILL when the parent dies. It comes after the change of user, which clears
// the request, and then looks whether the parent was quicker.
func dieWithParent(parent int) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set parent-death signal: %w", err)
	}
	if unix.Getppid() != parent {
		return errors.New("the supervisor has died")
	}
	return nil
}

// enterDir enters the working directory.
func (o order) enterDir() error {
	dir := o.Dir
	if dir == "" {
		dir = "/"
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("enter working directory: %w", err)
	}
	return nil
}

// closeOnExec marks all descriptors from first on to be closed by execve, whoever opened them.
func closeOnExec(first uint) error {
	const maxFD = 1<<32 - 1
	if unix.CloseRange(first, maxFD, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	entries, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && uint(fd) >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// apply sets the limits that are not 0.
func (l Limits) apply() error {
	// By way of package syscall, which otherwise, at execve, puts RLIMIT_NOFILE back to what it was before
	// the Go runtime raised it.
	for _, limit := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"memory", unix.RLIMIT_DATA, l.MaxMemory},
		{"files", unix.RLIMIT_NOFILE, l.MaxFiles},
	} {
		if limit.value == 0 {
			continue
		}
		var now syscall.Rlimit
		if err := syscall.Getrlimit(limit.resource, &now); err != nil {
			return fmt.Errorf("read limit of %s: %w", limit.name, err)
		}
		value := min(limit.value, now.Max)
		if err := syscall.Setrlimit(limit.resource, &syscall.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit %s to %d: %w", limit.name, value, err)
		}
	}
	return nil
}

// explainExec says why program could not be executed and what would help.
func explainExec(program string, err error) error {
	_, statErr := os.Stat(program)
	switch {
	case errors.Is(err, unix.ENOENT) && errors.Is(statErr, unix.ENOENT):
		return fmt.Errorf("program %s does not exist: install it or correct its path in the configuration: %w", program, err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("program %s names an interpreter or loader that does not exist: %w", program, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("program %s may not be executed by user id %d: check its mode and its directories': %w", program, unix.Getuid(), err)
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("program %s is not an executable of this machine: %w", program, err)
	}
	return fmt.Errorf("execute %s: %w", program, err)
}
