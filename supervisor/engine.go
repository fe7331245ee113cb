package supervisor

import (
	"context"
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
	// retryEvery is the wait before a directory that could not be made is tried again.
	retryEvery = 10 * time.Second
	// adapterPause is the wait before an adapter that ended is started again.
	adapterPause = time.Second
	// watchEvery is how often an engine is asked for a sign of life.
	watchEvery = time.Second
	// problemReportEvery is how often the sources of an engine with a problem are reported: reports
	// are levels with an age.
	problemReportEvery = time.Second
)

// What a child may fail and use up. chronyd and ptp4l need a few MiB and a few dozen descriptors.
const (
	quarantineAfter = 12
	quarantine      = 10 * time.Minute
	childMemory     = 256 << 20
	childFiles      = 1024
	// Where a child has a cgroup of its own: what it has in memory, which is less than what it allocates.
	childGroupMemory = 128 << 20
	childTasks       = 64
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

// engine is one child of a plan with its adapters, as long as that plan of it holds: a changed plan
// is a new engine. Its run goroutine owns it; status may be called from anywhere.
type engine struct {
	child   Child
	sources []sources.ID
	process configs.Process
	host    hostClock
	log     *slog.Logger
	updates chan<- sources.Update
	events  chan<- process.Event
	cgroups *process.Cgroups // nil: the child has a process group and limits of its own only
	// adapters makes what measures with the child.
	adapters func(Child, hostClock, *slog.Logger) []adapter

	mu sync.Mutex
	// problem is why the child does not run, beyond what its plan says.
	problem string
	runner  *process.Runner
	// answered is when the engine itself last gave a sign of life, with the CPU time used until then.
	answered time.Time
	usage    usage
	// deaf is how long since then this process did not run itself.
	deaf time.Duration
}

// run keeps the engine going until ctx is done. A child that cannot be started as things are is
// reported; nothing here ends because something is missing.
func (e *engine) run(ctx context.Context) {
	if problem := e.child.Problem; problem != "" {
		e.log.Error("engine cannot be started", "child", e.child.Name, "problem", problem)
		e.report(ctx, problem, nil) // until the plan has changed
		return
	}
	for ctx.Err() == nil {
		err := layOut(e.child)
		if err == nil {
			e.setProblem("")
			e.runChild(ctx)
			return
		}
		e.setProblem(err.Error())
		e.log.Error("engine cannot be started", "child", e.child.Name, "error", err, "retry_s", retryEvery.Seconds())
		e.report(ctx, err.Error(), time.After(retryEvery))
	}
}

// report says of the engine's sources that they are unreachable, and why, until the time has come.
func (e *engine) report(ctx context.Context, why string, until <-chan time.Time) {
	tick := time.NewTicker(problemReportEvery)
	defer tick.Stop()
	for {
		e.send(ctx, unreachable(e.sources, e.host.Now(), why))
		select {
		case <-ctx.Done():
			return
		case <-until:
			return
		case <-tick.C:
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

func (e *engine) setProblem(why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.problem = why
}

func (e *engine) send(ctx context.Context, u sources.Update) {
	select {
	case e.updates <- u:
	case <-ctx.Done():
	}
}

// runChild runs process, adapters and watch together until ctx is done.
func (e *engine) runChild(ctx context.Context) {
	runner := process.New(e.spec(), process.Options{
		Backoff: process.Backoff{
			Min: e.process.BackoffMin.Std(), Max: e.process.BackoffMax.Std(), ResetAfter: e.process.HealthyFor.Std(),
			QuarantineAfter: quarantineAfter, Quarantine: quarantine,
		},
		Cgroups: e.cgroups, Grace: e.process.Grace.Std(), Logger: e.log, Seed: seed(e.child.Name), OnEvent: e.forward,
	})
	e.mu.Lock()
	e.runner, e.answered = runner, time.Now()
	e.mu.Unlock()

	var wg sync.WaitGroup
	in := make(chan sources.Update)
	for _, a := range e.adapters(e.child, e.host, e.log) {
		wg.Go(func() { e.keepRunning(ctx, a, in) })
	}
	wg.Go(func() { e.relay(ctx, in) })
	wg.Go(func() { e.watch(ctx, runner) })
	if err := runner.Run(ctx); err != nil {
		e.log.Error("child given up", "child", e.child.Name, "error", err)
		<-ctx.Done() // the specification cannot ever run: a different one is a different engine
	}
	wg.Wait()
}

// retry ends the wait of a child that backs off or is in quarantine.
func (e *engine) retry() {
	e.mu.Lock()
	runner := e.runner
	e.mu.Unlock()
	if runner != nil {
		runner.Retry()
	}
}

// forward hands a transition of the child to the loop, which must not be waited for: an event that
// finds the queue full is in the log all the same.
func (e *engine) forward(ev process.Event) {
	select {
	case e.events <- ev:
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
		e.log.Warn("adapter ended, starting it again", "child", e.child.Name, "error", err)
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
				e.noteAnswer(time.Now())
				e.runner.Progress()
			}
			e.send(ctx, u)
		}
	}
}

func (e *engine) spec() process.Spec {
	c := e.child
	caps := make([]process.Capability, 0, len(c.Capabilities))
	for _, name := range c.Capabilities {
		caps = append(caps, process.Capability(name))
	}
	return process.Spec{
		Name: c.Name, Argv: c.Argv, Dir: c.Dir, Credential: process.Credential{User: c.User.Name},
		Capabilities: caps, Prepare: func() error { return prepare(c) },
		Limits: process.Limits{MaxMemory: childMemory, MaxFiles: childFiles, MaxGroupMemory: childGroupMemory, MaxTasks: childTasks},
	}
}

// status describes the child for the status snapshot.
func (e *engine) status() ChildStatus {
	e.mu.Lock()
	problem, runner := firstOf(e.child.Problem, e.problem), e.runner
	e.mu.Unlock()
	st := ChildStatus{Name: e.child.Name, Phase: "waiting", Problem: problem}
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
