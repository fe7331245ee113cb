package supervisor

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/sources"
	"clockarbiter/supervisor/process"
)

// Pacing of what an engine does beside measuring.
const (
	// reprobeEvery is how often the host is looked at again for what an engine lacked.
	reprobeEvery = 10 * time.Second
	// adapterPause is the wait before an adapter that ended is started again.
	adapterPause = time.Second
	// watchEvery is how often an engine is asked for a sign of life.
	watchEvery = time.Second
	// problemReportEvery is how often the sources of an engine with a problem are reported: reports
	// are levels with an age.
	problemReportEvery = time.Second
)

// adapter turns what one engine measures into updates until ctx is done.
type adapter interface {
	Run(ctx context.Context, out chan<- sources.Update) error
}

// hostClock is what adapters and the loop need of this host's clocks.
type hostClock interface {
	Now() timescale.Instant
	Local(realtimeNS int64) (timescale.Instant, error)
	FromMonotonicRaw(ns int64) timescale.Instant
}

// engine is one child of the plan with its adapters. Its run goroutine owns it; state may be read
// from anywhere.
type engine struct {
	cfg     *configs.Config
	host    hostClock
	log     *slog.Logger
	updates chan<- sources.Update
	events  chan<- process.Event
	// replan looks at the host again.
	replan func(context.Context) Plan

	mu     sync.Mutex
	child  Child
	runner *process.Runner
	// answered is when the engine itself last gave a sign of life.
	answered time.Time
}

// run keeps the engine going until ctx is done. A child that cannot be started as things are is
// reported and looked at again; nothing here ends because something is missing.
func (e *engine) run(ctx context.Context, planned []sources.ID) {
	for ctx.Err() == nil {
		if problem := e.current().Problem; problem != "" {
			e.log.Error("engine cannot be started", "child", e.current().Name, "problem", problem, "retry_s", reprobeEvery.Seconds())
			e.waitForRemedy(ctx, planned)
			continue
		}
		e.runChild(ctx)
	}
}

func (e *engine) current() Child {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.child
}

// waitForRemedy reports the engine's sources as unreachable, with the problem, until the host has
// what was missing.
func (e *engine) waitForRemedy(ctx context.Context, planned []sources.ID) {
	report := time.NewTicker(problemReportEvery)
	defer report.Stop()
	probe := time.NewTicker(reprobeEvery)
	defer probe.Stop()
	for {
		child := e.current()
		if child.Problem == "" {
			return
		}
		e.send(ctx, unreachable(planned, e.host.Now(), child.Problem))
		select {
		case <-ctx.Done():
			return
		case <-report.C:
		case <-probe.C:
			e.adopt(e.replan(ctx))
		}
	}
}

// adopt takes this engine's child from a new plan.
func (e *engine) adopt(p Plan) {
	for _, c := range p.Children {
		if c.Name == e.current().Name {
			e.mu.Lock()
			e.child = c
			e.mu.Unlock()
		}
	}
}

func unreachable(ids []sources.ID, now timescale.Instant, why string) sources.Update {
	var u sources.Update
	for _, id := range ids {
		u.Reports = append(u.Reports, sources.Report{Source: id, At: now, Condition: sources.Unreachable, Detail: why})
	}
	return u
}

func (e *engine) send(ctx context.Context, u sources.Update) {
	select {
	case e.updates <- u:
	case <-ctx.Done():
	}
}

// runChild runs process, adapters and watch together until ctx is done.
func (e *engine) runChild(ctx context.Context) {
	child := e.current()
	if err := layOut(child); err != nil {
		e.fail(err)
		return
	}
	runner := process.New(e.spec(child), process.Options{
		Backoff: process.Backoff{
			Min: e.cfg.Process.BackoffMin.Std(), Max: e.cfg.Process.BackoffMax.Std(), ResetAfter: e.cfg.Process.HealthyFor.Std(),
		},
		Grace: e.cfg.Process.Grace.Std(), Logger: e.log, Seed: seed(child.Name),
		OnEvent: func(ev process.Event) { e.forward(ctx, ev) },
	})
	e.mu.Lock()
	e.runner, e.answered = runner, time.Now()
	e.mu.Unlock()

	var wg sync.WaitGroup
	in := make(chan sources.Update)
	for _, a := range adapters(child, e.host, e.log) {
		wg.Go(func() { e.keepRunning(ctx, a, in) })
	}
	wg.Go(func() { e.relay(ctx, in) })
	wg.Go(func() { e.watch(ctx, runner) })
	if err := runner.Run(ctx); err != nil {
		e.log.Error("child given up", "child", child.Name, "error", err)
		<-ctx.Done() // the specification cannot ever run: a different one needs a restart
	}
	wg.Wait()
}

// fail makes err the engine's problem, to be retried with the next look at the host.
func (e *engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.child.Problem = err.Error()
}

// forward hands a transition of the child to the loop, which must not be waited for: an event that
// finds the queue full is in the log all the same.
func (e *engine) forward(ctx context.Context, ev process.Event) {
	select {
	case e.events <- ev:
	case <-ctx.Done():
	default:
		e.log.Warn("child event not journalled, the queue is full", "event", ev.String())
	}
}

// seed makes restarts of different children jitter differently, and each alike in every run.
func seed(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name)) // never fails (hash.Hash)
	return h.Sum64()
}

// keepRunning restarts an adapter that ended although it should not have.
func (e *engine) keepRunning(ctx context.Context, a adapter, in chan<- sources.Update) {
	for {
		err := a.Run(ctx, in)
		if ctx.Err() != nil {
			return
		}
		e.log.Warn("adapter ended, starting it again", "child", e.current().Name, "error", err)
		select {
		case <-time.After(adapterPause):
		case <-ctx.Done():
			return
		}
	}
}

// relay passes updates on and notes that the engine answers.
func (e *engine) relay(ctx context.Context, in <-chan sources.Update) {
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-in:
			if u.Answered {
				e.mu.Lock()
				e.answered = time.Now()
				e.runner.Progress()
				e.mu.Unlock()
			}
			e.send(ctx, u)
		}
	}
}

// watch restarts a child that runs and gives no sign of life: being alive is not health.
func (e *engine) watch(ctx context.Context, runner *process.Runner) {
	limit := e.cfg.Process.SampleTimeout.Std()
	if limit == 0 {
		return
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if silence := e.silence(now, runner.State()); silence > limit {
				runner.Restart(fmt.Sprintf("no answer for %s", silence.Round(time.Second)))
				e.mu.Lock()
				e.answered = now
				e.mu.Unlock()
			}
		}
	}
}

// silence is how long a running child has not answered.
func (e *engine) silence(now time.Time, s process.State) time.Duration {
	if s.Phase != process.PhaseRunning {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.Since.After(e.answered) {
		return now.Sub(s.Since)
	}
	return now.Sub(e.answered)
}

// status describes the child for the status snapshot.
func (e *engine) status() ChildStatus {
	e.mu.Lock()
	child, runner := e.child, e.runner
	e.mu.Unlock()
	st := ChildStatus{Name: child.Name, Phase: "waiting", Problem: child.Problem}
	if runner == nil {
		return st
	}
	s := runner.State()
	st.Phase, st.PID, st.Restarts, st.Since = s.Phase.String(), s.PID, s.Restarts, s.Since
	if s.LastExit != nil {
		st.LastExit = s.LastExit.String()
	}
	if s.LastError != nil {
		st.Problem = s.LastError.Error()
	}
	return st
}

func (e *engine) spec(c Child) process.Spec {
	caps := make([]process.Capability, 0, len(c.Capabilities))
	for _, name := range c.Capabilities {
		caps = append(caps, process.Capability(name))
	}
	return process.Spec{
		Name: c.Name, Argv: c.Argv, Dir: c.Dir, Credential: process.Credential{User: c.User.Name},
		Capabilities: caps, Prepare: func() error { return prepare(c) },
	}
}
