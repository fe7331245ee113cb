package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// startTimeout bounds the time that the shim takes to become the program.
	startTimeout = 10 * time.Second
	// drainTimeout bounds the wait for the end of the output of a child that has ended: a grandchild
	// that left the process group may hold the pipe for ever.
	drainTimeout = 500 * time.Millisecond
	// maxStatus bounds what is read of the shim's report, in bytes.
	maxStatus = 4096
)

// osChild is a child process of the operating system.
type osChild struct {
	pid   int
	group *cgroup // nil: it has none of its own
	exitC chan Exit

	mu     sync.Mutex
	reaped bool
}

// PID returns the process, which is also its process group.
func (c *osChild) PID() int { return c.pid }

// ExitC delivers one Exit, without lines, when the child is reaped and its output read.
func (c *osChild) ExitC() <-chan Exit { return c.exitC }

// Signal sends sig to the process group; nothing happens when the child is reaped already.
func (c *osChild) Signal(sig unix.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return nil
	}
	if err := unix.Kill(-c.pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to process group %d: %w", unix.SignalName(sig), c.pid, err)
	}
	return nil
}

// spawn starts the child that spec describes and hands its lines to emit. It returns when the program
// runs, or an error when it does not within startTimeout or before ctx ends; nothing is left then of
// what was started, unless the error is errSurvived. A child that is returned delivers on ExitC in any case.
func spawn(ctx context.Context, groups *Cgroups, spec Spec, emit func(pid int, line string)) (child, error) {
	c := &osChild{exitC: make(chan Exit, 1)}
	plumbing, err := newPlumbing(spec, groups != nil)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	if groups != nil {
		if err := c.enter(groups, spec, plumbing); err != nil {
			plumbing.closeTheirs()
			plumbing.closeOurs()
			return nil, fmt.Errorf("start %s: %w", spec.Name, err)
		}
	}
	startedC := make(chan error, 1)
	go c.live(spec, plumbing, emit, startedC)
	if err := <-startedC; err != nil {
		plumbing.closeOurs()
		return nil, fmt.Errorf("start %s: execute the supervisor's own binary: %w", spec.Name, err)
	}
	if err := awaitExec(ctx, plumbing.status); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", spec.Name, err), c.abolish(ctx))
	}
	return c, nil
}

// enter makes the child's cgroup, which the shim enters.
func (c *osChild) enter(groups *Cgroups, spec Spec, p *plumbing) (err error) {
	if c.group, err = groups.enter(spec.Name, spec.Limits); err != nil {
		return err
	}
	if p.group, err = c.group.door(); err != nil {
		return errors.Join(err, c.group.remove())
	}
	p.theirs = append(p.theirs, p.group)
	return nil
}

// live starts the shim and stays with the process until it is reaped. All of it is on one thread,
// because the death signal of a child follows the death of the thread that started it.
func (c *osChild) live(spec Spec, p *plumbing, emit func(int, string), startedC chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := time.Now()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{os.Args[0], ShimArgument, spec.Name}, p.attributes())
	p.closeTheirs()
	if err != nil {
		if c.group != nil {
			err = errors.Join(err, c.group.remove())
		}
		startedC <- err
		return
	}
	c.pid = pid
	startedC <- nil
	drainedC := make(chan struct{})
	go func() {
		defer close(drainedC)
		copyLines(p.output, func(line string) { emit(pid, line) })
	}()
	status, usage := c.reap()
	ran := time.Since(begin)
	overrun, groupErr := c.leave()
	select {
	case <-drainedC:
	case <-time.After(drainTimeout):
	}
	_ = p.output.Close() // a read end has nothing to lose
	if groupErr != nil {
		emit(pid, "clockarbiter: "+groupErr.Error())
	}
	exit := newExit(pid, status, usage, ran)
	exit.OutOfMemory = overrun
	c.exitC <- exit
}

// leave ends the child's cgroup, and with it every grandchild. It reports whether the kernel has killed
// for memory there.
func (c *osChild) leave() (overrun bool, err error) {
	if c.group == nil {
		return false, nil
	}
	overrun = c.group.overrun()
	return overrun, c.group.remove()
}

// reap waits for the process to end, kills what is left of its group, and reaps it, in this order:
// as long as the process is not reaped, its number cannot be another's.
func (c *osChild) reap() (unix.WaitStatus, *unix.Rusage) {
	for errors.Is(unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reaped = true
	_ = unix.Kill(-c.pid, unix.SIGKILL) // the dead leader counts as a member: no error tells anything
	var status unix.WaitStatus
	var usage unix.Rusage
	for {
		if _, err := unix.Wait4(c.pid, &status, 0, &usage); !errors.Is(err, unix.EINTR) {
			return status, &usage
		}
	}
}

// abolish kills a child that did not become the program and waits for its end: as long as ctx lasts,
// because a second one beside it would be worse than none, and for killTimeout after that. Its error
// is errSurvived.
func (c *osChild) abolish(ctx context.Context) error {
	if err := c.Signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("%w: %w", errSurvived, err)
	}
	select {
	case <-c.exitC:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-c.exitC:
		return nil
	case <-time.After(killTimeout):
		return fmt.Errorf("process %d: %w", c.pid, errSurvived)
	}
}

// awaitExec reads the shim's report and returns nil when it has become the program.
func awaitExec(ctx context.Context, status *os.File) error {
	defer status.Close()
	if err := status.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return fmt.Errorf("await the program: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = status.SetReadDeadline(time.Unix(1, 0)) // fails only on a file that is closed, where nobody waits
	})
	defer stop()
	report, err := io.ReadAll(io.LimitReader(status, maxStatus))
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("not running after %v", startTimeout)
	case err != nil:
		return fmt.Errorf("await the program: %w", err)
	}
	return parseReport(report)
}

// parseReport returns nil for the report of a shim that became the program, or what went wrong.
func parseReport(report []byte) error {
	rest, ready := bytes.CutPrefix(report, []byte{statusReady})
	if ready && len(rest) == 0 {
		return nil
	}
	if reason, ok := bytes.CutPrefix(rest, []byte{statusError}); ok {
		return errors.New(printable(string(reason)))
	}
	return errors.New("the shim died before it became the program; its last lines say why")
}

// plumbing is the files between the supervisor and a child.
type plumbing struct {
	output *os.File // our end of stdout and stderr
	status *os.File // our end of the status pipe
	theirs []*os.File
	group  *os.File // the way into the child's cgroup; nil: it has none
}

// newPlumbing makes the files and writes the order for spec.
func newPlumbing(spec Spec, cgroup bool) (_ *plumbing, err error) {
	p := &plumbing{}
	defer func() {
		if err != nil {
			p.closeOurs()
			p.closeTheirs()
		}
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	p.theirs = append(p.theirs, null)
	var outputEnd, statusEnd *os.File
	if p.output, outputEnd, err = pipe("output"); err != nil {
		return nil, err
	}
	p.theirs = append(p.theirs, outputEnd)
	if p.status, statusEnd, err = pipe("status"); err != nil {
		return nil, err
	}
	p.theirs = append(p.theirs, statusEnd)
	order, err := orderFile(spec, cgroup)
	if err != nil {
		return nil, err
	}
	p.theirs = append(p.theirs, order)
	return p, nil
}

// attributes are those of the shim: an empty environment, its own process group, and the death
// signal from its first instant on.
func (p *plumbing) attributes() *syscall.ProcAttr {
	null, out, status, order := p.theirs[0].Fd(), p.theirs[1].Fd(), p.theirs[2].Fd(), p.theirs[3].Fd()
	a := &syscall.ProcAttr{
		Env:   []string{},
		Files: []uintptr{0: null, 1: out, 2: out, orderFD: order, statusFD: status},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if p.group != nil {
		a.Files = append(a.Files, p.group.Fd()) // cgroupFD
	}
	return a
}

// closeTheirs closes the ends that the child has its own copies of.
func (p *plumbing) closeTheirs() {
	for _, f := range p.theirs {
		_ = f.Close() // nothing was written through these but the order, which is in memory
	}
}

// closeOurs closes the ends of the supervisor.
func (p *plumbing) closeOurs() {
	for _, f := range []*os.File{p.output, p.status} {
		if f != nil {
			_ = f.Close() // a read end has nothing to lose
		}
	}
}

// pipe makes a pipe whose read end obeys deadlines and whose write end blocks: a child that finds
// its standard output non-blocking would lose lines.
func pipe(name string) (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make %s pipe: %w", name, err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make %s pipe: %w", name, err), unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}

// orderFile returns a memory file that holds the order for spec, to be read from its beginning. In
// memory, an order of any size is written without waiting for a reader.
func orderFile(spec Spec, cgroup bool) (*os.File, error) {
	env := spec.Env
	if env == nil {
		env = defaultEnv()
	}
	text, err := json.Marshal(order{
		ParentPID:    os.Getpid(),
		Argv:         spec.Argv,
		Dir:          spec.Dir,
		Env:          env,
		Credential:   spec.Credential,
		Capabilities: spec.Capabilities,
		Limits:       spec.Limits,
		Cgroup:       cgroup,
	})
	if err != nil {
		return nil, fmt.Errorf("write order: %w", err)
	}
	fd, err := unix.MemfdCreate("order", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make order file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "order")
	if _, err = f.Write(text); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write order: %w", err), f.Close())
	}
	return f, nil
}
