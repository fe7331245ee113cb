package namespaces

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// World is a host and the nodes that it is linked to. The host is the namespace that the program itself
// runs in. One world exists at a time, and one goroutine builds it.
type World struct {
	ctx        context.Context
	end        context.CancelFunc
	links      int
	nodes      []*node
	dirs       []string
	processes  []*Process
	conditions []condition
	helpers    sync.WaitGroup
}

// condition is something that must come true before the world is ready.
type condition struct {
	name string
	wait func(context.Context) error
}

// New begins a world that ends with ctx: its processes are killed then.
func New(ctx context.Context) (*World, error) {
	if _, err := os.Stat(workDir); err != nil {
		return nil, fmt.Errorf("begin a world outside of namespaces.Run: %w", err)
	}
	w := &World{}
	w.ctx, w.end = context.WithCancel(ctx)
	return w, nil
}

// Dir makes a directory that vanishes with the world, readable by every user.
func (w *World) Dir(name string) (string, error) {
	dir := filepath.Join(workDir, name)
	w.dirs = append(w.dirs, dir)
	return dir, os.Mkdir(dir, 0o755)
}

// Start runs a program on the host until the world ends. What it prints is kept for Report and copied
// to output, which may be nil.
func (w *World) Start(name string, output io.Writer, argv ...string) (*Process, error) {
	return w.keep(start(w.ctx, name, output, argv...))
}

// StartWithoutClock is Start for a program that is to have no CAP_SYS_TIME.
func (w *World) StartWithoutClock(name string, output io.Writer, argv ...string) (*Process, error) {
	return w.Start(name, output, withoutClock(argv...)...)
}

// startOn runs a program in a node's namespace, unable to adjust a clock.
func (w *World) startOn(n *node, argv ...string) (*Process, error) {
	var p *Process
	err := n.in(func() (err error) {
		p, err = start(w.ctx, n.name, nil, withoutClock(argv...)...)
		return err
	})
	return w.keep(p, err)
}

func (w *World) keep(p *Process, err error) (*Process, error) {
	if err == nil {
		w.processes = append(w.processes, p)
	}
	return p, err
}

// alongside runs f until the world ends.
func (w *World) alongside(f func(context.Context)) {
	w.helpers.Go(func() { f(w.ctx) })
}

// addNode makes the next node.
func (w *World) addNode(name string) (*node, error) {
	w.links++
	n, err := newNode(name, w.links)
	if err == nil {
		w.nodes = append(w.nodes, n)
	}
	return n, err
}

// Ready waits until every server that was added serves.
func (w *World) Ready(ctx context.Context) error {
	for _, c := range w.conditions {
		if err := c.wait(ctx); err != nil {
			return fmt.Errorf("wait for %s: %w", c.name, err)
		}
	}
	return nil
}

// Report is what every process printed last, for the report of a failure.
func (w *World) Report() string {
	var b strings.Builder
	for _, p := range w.processes {
		fmt.Fprintf(&b, "--- %s (pid %d, %s)\n%s\n", p.name, p.PID(), p.state(), p.Log())
	}
	return b.String()
}

func (p *Process) state() string {
	select {
	case <-p.doneC:
		if p.err != nil {
			return p.err.Error()
		}
		return "exited"
	default:
		return "running"
	}
}

// Close ends every process and gives the namespaces up. Report still has what they printed.
func (w *World) Close() error {
	w.end()
	w.helpers.Wait()
	for _, p := range w.processes {
		<-p.doneC
	}
	var errs []error
	for _, n := range w.nodes {
		errs = append(errs, n.close())
	}
	for _, dir := range w.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	w.nodes, w.dirs = nil, nil
	return errors.Join(errs...)
}
