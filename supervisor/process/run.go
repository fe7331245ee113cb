package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// killTimeout bounds the wait for a child after KILL; only one in an uninterruptible wait of the
// kernel survives that long.
const killTimeout = 5 * time.Second

// errSurvived: a process of the child is still there after KILL.
var errSurvived = errors.New("has survived SIGKILL")

// Options say how a Runner treats its child. A duration of 0 is the default that is named.
type Options struct {
	// Backoff is the rule for restarts; Min 500 ms, Max 30 s, ResetAfter 60 s.
	Backoff Backoff
	// Grace is the time from TERM to KILL where the Spec has none; 2 s.
	Grace time.Duration
	// Cgroups is where the child gets a cgroup of its own. Nil: it gets none.
	Cgroups *Cgroups
	// Logger gets the child's output, and the events where OnEvent is nil. Nil: nothing
	// is logged.
	Logger *slog.Logger
	// Seed is that of the jitter; different Runners need different seeds.
	Seed uint64
	// OnEvent is called for each transition, in order, from the goroutine of Run: it must return at
	// once, and must not call Run. Nil: events go to the Logger.
	OnEvent func(Event)
}

// child is a process that was started.
type child interface {
	// PID returns the process.
	PID() int
	// Signal sends to the whole process group; it does nothing after the end.
	Signal(unix.Signal) error
	// ExitC delivers one Exit when the child has ended and nothing of it is left.
	ExitC() <-chan Exit
}

// startFunc starts a child; it returns when the program runs, or an error when it does not. Nothing is
// left then, unless the error is errSurvived.
type startFunc func(ctx context.Context, spec Spec, emit func(pid int, line string)) (child, error)

// spawnIn is spawn with the children in groups of a subtree; nil: in none.
func spawnIn(groups *Cgroups) startFunc {
	return func(ctx context.Context, spec Spec, emit func(int, string)) (child, error) {
		return spawn(ctx, groups, spec, emit)
	}
}

// Runner keeps one child running. Run is called once; the other methods may be called at any time
// from any goroutine.
type Runner struct {
	spec     Spec
	options  Options
	jitter   *rand.Rand
	log      *slog.Logger
	start    startFunc
	restartC chan string
	retryC   chan struct{}

	mu       sync.Mutex
	state    State
	output   *output   // of the run that is in progress or was last
	started  time.Time // of that run
	progress time.Time // last report of progress of that run
}

// New returns a Runner for the child that spec describes; it starts nothing yet.
func New(spec Spec, options Options) *Runner {
	setDefault(&options.Backoff.Min, 500*time.Millisecond)
	setDefault(&options.Backoff.Max, 30*time.Second)
	setDefault(&options.Backoff.ResetAfter, time.Minute)
	setDefault(&options.Grace, 2*time.Second)
	setDefault(&spec.Grace, options.Grace)
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.OnEvent == nil {
		options.OnEvent = func(e Event) { logEvent(options.Logger, e) }
	}
	return &Runner{
		spec:     spec,
		options:  options,
		jitter:   rand.New(rand.NewPCG(options.Seed, 0)),
		log:      options.Logger.With("child", spec.Name),
		start:    spawnIn(options.Cgroups),
		restartC: make(chan string, 1),
		retryC:   make(chan struct{}, 1),
		state:    State{Name: spec.Name, Since: time.Now()},
	}
}

// setDefault gives d the value where it is 0.
func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Run starts the child and keeps it running until ctx ends, then stops it and returns nil when
// nothing is left of it. It returns an error at once for a Spec that can never run, and at the end
// when the child survived KILL. From the end of ctx it takes the grace and 6 s at most.
func (r *Runner) Run(ctx context.Context) error {
	err := r.spec.Validate()
	if err == nil {
		err = r.keepRunning(ctx)
	}
	phase := PhaseStopped
	if err != nil {
		phase = PhaseFailed
	}
	r.update(phase, func(s *State) {
		if err != nil {
			s.LastError = err
		}
	})
	r.event(Event{Kind: EventStopped, Err: err})
	return err
}

// keepRunning runs the child again and again until ctx ends; it returns an error only for a child
// that survived KILL.
func (r *Runner) keepRunning(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.runOnce(ctx); err != nil {
			return err
		}
		if ctx.Err() == nil {
			r.backOff(ctx)
		}
	}
	return nil
}

// runOnce takes the child through one life. A start that goes wrong is one, too.
func (r *Runner) runOnce(ctx context.Context) error {
	out := newOutput(r.log)
	r.beginLife(out)
	c, err := r.prepareAndStart(ctx, out)
	switch {
	case errors.Is(err, errSurvived):
		return err
	case err != nil && ctx.Err() == nil:
		r.startFailed(err, out.lines())
		return nil
	case err != nil:
		return nil // not started because it was to end
	}
	r.running(c.PID())
	exit, err := r.attend(ctx, c)
	if err != nil {
		return err
	}
	out.end(exit.PID)
	exit.Lines = out.lines()
	r.ended(exit)
	return nil
}

// prepareAndStart prepares, which takes as long as it takes but does not hold up the end of ctx, and
// starts the child.
func (r *Runner) prepareAndStart(ctx context.Context, out *output) (child, error) {
	if r.spec.Prepare != nil {
		preparedC := make(chan error, 1)
		go func() { preparedC <- r.spec.Prepare() }()
		select {
		case err := <-preparedC:
			if err != nil {
				return nil, fmt.Errorf("prepare %s: %w", r.spec.Name, err)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return r.start(ctx, r.spec, out.line)
}

// attend stays with a running child until it has ended, and stops it where that is asked for.
func (r *Runner) attend(ctx context.Context, c child) (Exit, error) {
	select {
	case exit := <-c.ExitC():
		return exit, nil
	case reason := <-r.restartC:
		r.event(Event{Kind: EventRestarting, PID: c.PID(), Reason: reason})
	case <-ctx.Done():
	}
	return r.stop(ctx, c)
}

// stop ends a child: TERM, the grace, KILL. A child that survives KILL is waited for as long as ctx
// lasts, because a second one beside it would be worse than none; then it is an error.
func (r *Runner) stop(ctx context.Context, c child) (Exit, error) {
	r.update(PhaseStopping, nil)
	r.signal(c, unix.SIGTERM)
	r.signal(c, unix.SIGCONT) // a stopped process gets its TERM only when it goes on
	if exit, ok := awaitExit(c, r.spec.Grace); ok {
		exit.Asked = true
		return exit, nil
	}
	r.signal(c, unix.SIGKILL)
	exit, ok := awaitExit(c, killTimeout)
	if !ok {
		r.event(Event{Kind: EventStuck, PID: c.PID(), Delay: killTimeout})
		select {
		case exit = <-c.ExitC():
		case <-ctx.Done():
			return Exit{}, fmt.Errorf("stop %s: process %d: %w", r.spec.Name, c.PID(), errSurvived)
		}
	}
	exit.Asked, exit.Forced = true, true
	return exit, nil
}

// awaitExit waits for the end of c, for limit at most.
func awaitExit(c child, limit time.Duration) (Exit, bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case exit := <-c.ExitC():
		return exit, true
	case <-timer.C:
		return Exit{}, false
	}
}

// signal sends sig and logs what hinders it: the wait for the end, which follows, is bounded.
func (r *Runner) signal(c child, sig unix.Signal) {
	if err := c.Signal(sig); err != nil {
		r.log.Error("signal child", "pid", c.PID(), "signal", unix.SignalName(sig), "error", err)
	}
}

// backOff waits until the next start is due or ctx ends.
func (r *Runner) backOff(ctx context.Context) {
	state, u := r.State(), r.jitter.Float64()
	delay, phase, kind := r.options.Backoff.Delay(state.Failures, u), PhaseBackingOff, EventBackingOff
	if r.options.Backoff.Quarantined(state.Fruitless) {
		delay, phase, kind = r.options.Backoff.QuarantineDelay(u), PhaseQuarantined, EventQuarantined
	}
	next := time.Now().Add(delay)
	select {
	case <-r.retryC: // meant for an earlier wait
	default:
	}
	r.update(phase, func(s *State) { s.NextStart = next })
	r.event(Event{Kind: kind, Delay: delay})
	timer := time.NewTimer(delay)
	defer timer.Stop()
	restarts := 0
	select {
	case <-timer.C:
		restarts = 1
	case <-r.retryC:
		restarts = 1
	case <-ctx.Done():
	}
	r.update(PhaseStarting, func(s *State) { s.NextStart, s.Restarts = time.Time{}, s.Restarts+restarts })
}

// Restart asks for a running child to be stopped and, after the backoff, started again, as for one
// that hangs; reason goes to the event. It reports whether there was one to restart, and it waits
// for nothing. Without Progress such a run counts as a failure however long it lasted.
func (r *Runner) Restart(reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Phase != PhaseRunning {
		return false
	}
	select {
	case r.restartC <- reason:
	default: // asked for already
	}
	return true
}

// Retry ends the wait of a child that backs off or is in quarantine, because what made it fail may have
// changed. It reports whether there was one, and it waits for nothing.
func (r *Runner) Retry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Phase != PhaseBackingOff && r.state.Phase != PhaseQuarantined {
		return false
	}
	select {
	case r.retryC <- struct{}{}:
	default: // asked for already
	}
	return true
}

// Progress tells that the running child does now what it is there for. A run that Restart ends counts
// as healthy up to the last report; one that ends by itself, up to its end.
func (r *Runner) Progress() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = time.Now()
}

// State returns a snapshot.
func (r *Runner) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	if r.output != nil {
		s.LastLines = r.output.lines()
	}
	return s
}

// beginLife notes that a run begins, with out for its output.
func (r *Runner) beginLife(out *output) {
	r.update(PhaseStarting, nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.output, r.progress, r.started = out, time.Time{}, time.Time{}
}

// running notes that the program runs as process pid. A request to restart that was meant for its
// predecessor is dropped.
func (r *Runner) running(pid int) {
	select {
	case <-r.restartC:
	default:
	}
	r.update(PhaseRunning, func(s *State) { s.PID, s.LastError = pid, nil })
	r.mu.Lock()
	r.started = time.Now()
	r.mu.Unlock()
	r.event(Event{Kind: EventStarted, PID: pid})
}

// startFailed notes why the child could not be started and counts it for the backoff.
func (r *Runner) startFailed(err error, lines []string) {
	r.mu.Lock()
	r.state.LastError = err
	r.state.Failures++
	r.state.Fruitless++
	r.mu.Unlock()
	r.event(Event{Kind: EventStartFailed, Err: err, Lines: lines})
}

// ended notes how a run ended and counts it for the backoff.
func (r *Runner) ended(exit Exit) {
	r.mu.Lock()
	healthy := exit.Ran
	if exit.Asked {
		healthy = max(0, r.progress.Sub(r.started))
	}
	r.state.Failures = r.options.Backoff.Failures(r.state.Failures, healthy)
	r.state.Fruitless++
	if !r.progress.IsZero() {
		r.state.Fruitless = 0
	}
	r.state.PID, r.state.LastExit = 0, &exit
	r.mu.Unlock()
	r.event(Event{Kind: EventExited, PID: exit.PID, Exit: &exit})
}

// update moves the state to phase, with change made at the same instant.
func (r *Runner) update(phase Phase, change func(*State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Phase != phase {
		r.state.Phase, r.state.Since = phase, time.Now()
	}
	if change != nil {
		change(&r.state)
	}
}

// event completes an event and hands it on.
func (r *Runner) event(e Event) {
	e.Name, e.At, e.Restarts = r.spec.Name, time.Now(), r.State().Restarts
	r.options.OnEvent(e)
}
