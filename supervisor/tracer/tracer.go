package tracer

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// callQueue: who takes the calls may be late by this many; more are counted as lost.
	callQueue = 256
	// observeEvery is how often the hooks are looked at.
	observeEvery = time.Second
	// burst is after how many calls the reader pauses, burstPause for how long.
	burst      = 64
	burstPause = 10 * time.Millisecond
)

// NotYet is the problem of what was not tried yet.
const NotYet = "not loaded yet"

// Options say what is wanted.
type Options struct {
	// Trace names who writes.
	Trace bool
	// Enforce keeps others from writing, as long as Want says so.
	Enforce bool
	// Period is how often our own process writes at least: the enforcement is believed for some of
	// these after it has let us pass.
	Period time.Duration
}

// State is what was observed of the programs, not what was asked for.
type State struct {
	// Tracing: the calls are traced. TracingProblem says why they are not, and what to do.
	Tracing        bool   `json:"tracing"`
	TracingProblem string `json:"tracing_problem,omitempty"`
	// Enforcing: the hook is in the kernel and has let our own newest write pass, so that it is at
	// work. EnforcingProblem says why it is not.
	Enforcing        bool   `json:"enforcing"`
	EnforcingProblem string `json:"enforcing_problem,omitempty"`
	// Refused counts what others were refused since the start, Lost the calls that are missing because
	// there were too many at once.
	Refused uint64 `json:"refused"`
	Lost    uint64 `json:"lost"`
}

// programs is what runs in the kernel.
type programs interface {
	// trace and enforce put the programs in their place, or take them away.
	trace() error
	enforce(on bool) error
	// linked reports whether the kernel has the refusals in place.
	linked() bool
	counts() (counters, error)
	// next waits for a record; its error is final.
	next() ([]byte, error)
	close()
}

// counters are those of the programs.
type counters struct{ lost, own, refused uint64 }

// Tracer runs the programs. Only Run loads anything; the other methods never wait.
type Tracer struct {
	// C has the calls, oldest first.
	C <-chan Call

	options Options
	open    func() (programs, error)
	finder  finder
	callC   chan Call
	wantC   chan bool

	mu      sync.Mutex
	state   State
	dropped uint64
}

// New returns a tracer; nothing is loaded yet.
func New(o Options) *Tracer {
	c := make(chan Call, callQueue)
	t := &Tracer{C: c, callC: c, wantC: make(chan bool, 1), options: o, open: openKernel, finder: newFinder()}
	if o.Trace {
		t.state.TracingProblem = NotYet
	}
	if o.Enforce {
		t.state.EnforcingProblem = NotYet
	}
	return t
}

// Want says whether the clock is ours to defend. The newest word counts.
func (t *Tracer) Want(enforce bool) {
	for {
		select {
		case t.wantC <- enforce:
			return
		default:
		}
		select {
		case <-t.wantC:
		default:
		}
	}
}

// State returns what was observed last.
func (t *Tracer) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.state
	s.Lost += t.dropped
	return s
}

func (t *Tracer) update(change func(*State)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.state)
}

// Run loads the programs and keeps them until ctx is done. What hinders it is in State.
func (t *Tracer) Run(ctx context.Context) {
	p, err := t.open()
	if err != nil {
		t.update(func(s *State) { t.fail(s, remedy(err)) })
		<-ctx.Done()
		return
	}
	g := guard{tracer: t, programs: p}
	if t.options.Trace {
		if err := p.trace(); err != nil {
			t.update(func(s *State) { s.TracingProblem = remedy(err) })
		} else {
			t.update(func(s *State) { s.Tracing, s.TracingProblem = true, "" })
		}
	}
	var reading sync.WaitGroup
	reading.Go(func() { t.read(ctx, p) })
	g.run(ctx)
	p.close()
	reading.Wait()
	t.update(func(s *State) { t.fail(s, "stopped") })
}

// fail says of everything wanted that it is not there.
func (t *Tracer) fail(s *State, why string) {
	s.Tracing, s.Enforcing = false, false
	if t.options.Trace {
		s.TracingProblem = why
	}
	if t.options.Enforce {
		s.EnforcingProblem = why
	}
}

// read hands calls on. After a burst it pauses, so that a process that does nothing but write costs a
// bounded part of a processor; the kernel counts what then finds the buffer full.
func (t *Tracer) read(ctx context.Context, p programs) {
	for n := 1; ; n++ {
		raw, err := p.next()
		if err != nil {
			if ctx.Err() == nil {
				t.update(func(s *State) { s.Tracing, s.TracingProblem = false, "the kernel's buffer: "+err.Error() })
			}
			return
		}
		r, err := decode(raw)
		if err != nil || !r.writes() {
			continue // of another version of the programs: not possible; or a mere reading
		}
		select {
		case t.callC <- t.finder.call(r):
		default:
			t.mu.Lock()
			t.dropped++
			t.mu.Unlock()
		}
		if n%burst == 0 {
			time.Sleep(burstPause)
		}
	}
}

// guard puts refusals in place and takes them away, and observes them. Its goroutine owns it.
type guard struct {
	tracer   *Tracer
	programs programs
	wanted   bool
	problem  string
	own      uint64    // of the last look
	seen     time.Time // when own last grew
	since    time.Time // of the newest change
}

func (g *guard) run(ctx context.Context) {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case want := <-g.tracer.wantC:
			if g.tracer.options.Enforce && want != g.wanted {
				g.change(want)
			}
		case <-tick.C:
		}
		g.observe(time.Now())
	}
}

func (g *guard) change(want bool) {
	g.wanted, g.problem, g.seen, g.since = want, "", time.Time{}, time.Now()
	if err := g.programs.enforce(want); err != nil {
		g.problem = remedy(err)
	}
	if c, err := g.programs.counts(); err == nil {
		g.own = c.own // what was let pass before proves nothing now
	}
}

// observe believes in the refusals while our own writes come by them.
func (g *guard) observe(now time.Time) {
	c, err := g.programs.counts()
	if err != nil {
		g.problem = err.Error()
	}
	if c.own != g.own {
		g.own, g.seen = c.own, now
	}
	patience := max(3*g.tracer.options.Period, 3*observeEvery)
	linked := g.programs.linked()
	active := linked && !g.seen.IsZero() && now.Sub(g.seen) < patience
	problem := g.problem
	switch {
	case !g.tracer.options.Enforce || active:
		problem = ""
	case problem != "":
	case !g.wanted:
		problem = "lifted: the clock is not ours to defend now"
	case !linked:
		problem = "the kernel has dropped the programs"
	case g.seen.IsZero() && now.Sub(g.since) < patience:
		problem = NotYet
	default:
		problem = "in place, and not seen at work: our own writes do not come by the hook"
	}
	g.tracer.update(func(s *State) {
		s.Enforcing, s.EnforcingProblem = active, problem
		s.Refused, s.Lost = c.refused, c.lost
	})
}

// Reasons that remedy knows.
var (
	errNoBTF         = errors.New("this kernel has no BTF (/sys/kernel/btf/vmlinux)")
	errUnknownKernel = errors.New("this kernel is not laid out as the programs know it")
	errNamespace     = errors.New("this process is in a PID namespace of its own")
	errCapabilities  = errors.New("no permission")
	errNoLSM         = errors.New("the kernel's list of security modules lacks bpf")
)

// remedy says what went wrong and what would help.
func remedy(err error) string {
	text := err.Error() + ": "
	switch {
	case errors.Is(err, errNoBTF):
		return text + "it takes one that is built with CONFIG_DEBUG_INFO_BTF"
	case errors.Is(err, errNamespace):
		return text + "processes have other numbers there; run in the host's"
	case errors.Is(err, errCapabilities):
		return text + "install deploy/systemd/clockarbiter.service.d/bpf.conf, or give it CAP_BPF, CAP_PERFMON and the system call bpf; kernel lockdown in mode confidentiality forbids it for all"
	case errors.Is(err, errNoLSM):
		return text + "add it to lsm= on the kernel's command line"
	}
	return text + "it takes Linux 5.11, on arm64 6.0, with CONFIG_DEBUG_INFO_BTF, CONFIG_FUNCTION_TRACER and, to enforce, CONFIG_BPF_LSM"
}
