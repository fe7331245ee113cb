package supervisor

import (
	"context"
	"slices"
	"sync"

	"clockarbiter/configs"
)

// fleet is the engines of the plan in force. apply replaces those whose part of the plan has changed
// and leaves the others alone; status may be called from anywhere.
type fleet struct {
	// build makes the engine of a child.
	build func(*configs.Config, Child, Plan) *engine

	mu      sync.Mutex
	berths  []*berth // in the order of the plan
	running sync.WaitGroup
}

// berth is a running engine.
type berth struct {
	*engine
	stop  context.CancelFunc
	doneC chan struct{}
}

// changes are the names of the children that a new plan concerned.
type changes struct{ Started, Replaced, Stopped []string }

func (c changes) none() bool { return len(c.Started)+len(c.Replaced)+len(c.Stopped) == 0 }

// apply makes the fleet that of the plan. It waits for nothing: an engine that takes the place of
// another starts when that one has ended, which its grace bounds. Engines end with ctx.
func (f *fleet) apply(ctx context.Context, cfg *configs.Config, p Plan) changes {
	f.mu.Lock()
	defer f.mu.Unlock()
	var did changes
	kept, ended := f.part(p, &did)
	next := make([]*berth, 0, len(p.Children))
	for _, c := range p.Children {
		if b := find(kept, c.Name); b != nil {
			next = append(next, b)
			continue
		}
		if find(ended, c.Name) != nil {
			did.Replaced = append(did.Replaced, c.Name)
		} else {
			did.Started = append(did.Started, c.Name)
		}
		next = append(next, f.launch(ctx, f.build(cfg, c, p), ended))
	}
	f.berths = next
	return did
}

// part tells the engines that stay from those that have to end, and ends the latter.
func (f *fleet) part(p Plan, did *changes) (kept, ended []*berth) {
	for _, b := range f.berths {
		i := slices.IndexFunc(p.Children, func(c Child) bool { return c.Name == b.child.Name })
		if i >= 0 && b.child.Same(p.Children[i]) && slices.Equal(b.sources, p.sourcesOf(b.child.Name)) {
			kept = append(kept, b)
			continue
		}
		if i < 0 {
			did.Stopped = append(did.Stopped, b.child.Name)
		}
		b.stop()
		ended = append(ended, b)
	}
	return kept, ended
}

func find(berths []*berth, name string) *berth {
	i := slices.IndexFunc(berths, func(b *berth) bool { return b.child.Name == name })
	if i < 0 {
		return nil
	}
	return berths[i]
}

// launch runs an engine once all that it might get into the way of have ended: the one whose directory
// it takes over, or one on the same PHC.
func (f *fleet) launch(ctx context.Context, e *engine, after []*berth) *berth {
	ctx, stop := context.WithCancel(ctx)
	b := &berth{engine: e, stop: stop, doneC: make(chan struct{})}
	f.running.Go(func() {
		defer close(b.doneC)
		defer stop()
		for _, old := range after {
			<-old.doneC
		}
		b.run(ctx)
	})
	return b
}

// retry ends the wait of every child that backs off or is in quarantine.
func (f *fleet) retry() {
	for _, b := range f.list() {
		b.retry()
	}
}

// status describes every child.
func (f *fleet) status() []ChildStatus {
	list := f.list()
	out := make([]ChildStatus, 0, len(list))
	for _, b := range list {
		out = append(out, b.status())
	}
	return out
}

func (f *fleet) list() []*berth {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.berths)
}

// wait returns when every engine has ended, after the end of ctx.
func (f *fleet) wait() { f.running.Wait() }
