package namespaces

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take between TERM and KILL.
const stopGrace = 2 * time.Second

// Process is a program that runs in a world.
type Process struct {
	name  string
	cmd   *exec.Cmd
	log   *tail
	doneC chan struct{}
	// err is how it ended, valid once doneC is closed.
	err error
}

// start runs argv in the namespace of the calling thread until ctx ends. What it prints is kept, and
// copied to output when that is not nil.
func start(ctx context.Context, name string, output io.Writer, argv ...string) (*Process, error) {
	p := &Process{name: name, log: &tail{}, doneC: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	var sink io.Writer = p.log
	if output != nil {
		sink = io.MultiWriter(p.log, output)
	}
	p.cmd.Stdout, p.cmd.Stderr = sink, sink
	// Grandchildren that outlive it may hold its output open.
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.doneC)
	}()
	return p, nil
}

// PID is the process identifier as seen inside the world.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.doneC }

// Err is how the process ended, nil while it runs and after exit status 0.
func (p *Process) Err() error {
	select {
	case <-p.doneC:
		return p.err
	default:
		return nil
	}
}

// Log is the last part of what the process printed.
func (p *Process) Log() string { return p.log.String() }

// Kill ends the process as a crash would, with SIGKILL, and waits for its end.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.doneC
	return nil
}

// Stop asks the process to end and kills it when it does not.
func (p *Process) Stop() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.doneC:
		return nil
	case <-time.After(stopGrace):
		return errors.Join(fmt.Errorf("%s ignored SIGTERM for %v", p.name, stopGrace), p.Kill())
	}
}

func (p *Process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// tailLimit bounds what is kept of a process's output, in bytes.
const tailLimit = 256 << 10

// tail keeps the last tailLimit bytes written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, b...)
	if excess := len(t.bytes) - tailLimit; excess > 0 {
		t.bytes = append(t.bytes[:0], t.bytes[excess:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.bytes)
}
