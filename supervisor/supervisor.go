package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/sources"
	"clockarbiter/supervisor/leapseconds"
	"clockarbiter/supervisor/process"
)

// Queues between the engines and the loop: an engine that finds one full waits, the loop never does.
const (
	updateQueue = 256
	eventQueue  = 256
	// noticeQueue is for the service manager: what it has not read in 4 s of ticks is out of date.
	noticeQueue = 16
)

// Options are what the command line and the host give beside the configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	Journal Journal
	// Load reads the configuration again, for a reload; nil: there is none.
	Load func() (*configs.Config, error)
	// Notify tells the service manager how we are; nil: nobody.
	Notify Notifier
}

// Supervisor runs the engines, the control loop and the status socket.
type Supervisor struct {
	cfg     *configs.Config
	options Options
	// journal and notices are delivered in goroutines of their own.
	journal *spooledJournal
	notices *spool[string]
	host    *clock.Host
	record  recorder
	reloadC chan chan error
	cgroups *process.Cgroups // nil: none is delegated to us
	// earlier is the run that this one continues; nil: none. noEarlier is the reason why not, if there is one.
	earlier   *earlier
	noEarlier string
	// fit is whether CLOCK_REALTIME may be served to NTP clients.
	fit atomic.Bool
}

// New prepares a supervisor; nothing runs and no clock is touched yet.
func New(cfg *configs.Config, o Options) (*Supervisor, error) {
	s := &Supervisor{cfg: cfg, options: o, reloadC: make(chan chan error)}
	if err := s.newHost(); err != nil {
		return nil, err
	}
	s.journal = newSpooledJournal(o.Journal, o.Log)
	s.notices = newSpool(noticeQueue, s.tell)
	boot := strconv.FormatInt(int64(s.host.Now()/timescale.Instant(time.Millisecond)), 36)
	s.record = recorder{journal: s.journal, log: o.Log, boot: boot}
	return s, nil
}

// Run supervises until ctx is done, then stops every child and returns nil. It returns an error when
// it could not start, or when the status socket is lost.
func (s *Supervisor) Run(ctx context.Context, plan Plan) error {
	unlock, err := lock(s.cfg.Paths.RunDir)
	if err != nil {
		return err
	}
	defer unlock()
	defer s.journal.close()
	defer s.notices.close()
	if s.cfg.Clock.Driver == "kernel" {
		release, err := claimClock(ctx, clockSocket)
		if err != nil {
			return err
		}
		defer release()
	}
	s.confine()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	updates, events := make(chan sources.Update, updateQueue), make(chan process.Event, eventQueue)
	engines, orderC := s.newFleet(updates, events), make(chan order)
	l := s.newLoop(plan, engines, updates, events)
	l.orders = orderC
	table := leapseconds.NewWatcher(s.cfg.Arbiter.LeapTable)
	l.tableC = table.C
	kept := newContinuity(s.cfg.Paths.StateDir, s.record, s.options.Log)
	l.decided = kept.note
	s.takeUp(l, kept)
	var services sync.WaitGroup
	serve := func(run func(context.Context) error) {
		services.Go(func() {
			if err := run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	engines.apply(ctx, s.cfg, plan)
	serve(NewStatusServer(s.cfg.Paths.StatusSocket, l.snapshot, s.options.Log).Restrict(s.cfg.Paths.StatusGroup).Run)
	serve((&controlServer{path: filepath.Join(s.cfg.Paths.RunDir, controlSocket), reload: s.Reload, log: s.options.Log}).run)
	s.record.started(fmt.Sprintf("clockarbiter %s started: driver %s, %d engine(s), %d configured source(s)", s.options.Version, s.cfg.Clock.Driver, len(plan.Children), len(plan.Sources)))
	s.own(ctx, &services, &l.own)
	stopRecording := s.startRecording(l)
	defer stopRecording()
	for _, run := range l.beside(kept, table) {
		services.Go(func() { run(ctx) })
	}
	s.plan(ctx, &services, plan, engines, orderC, table.Reread)

	<-ctx.Done()
	s.notify("STOPPING=1\nSTATUS=stopping the engines")
	if s.bounded("engines and services", func() { engines.wait(); services.Wait() }) {
		l.drain()
	}
	s.record.stopped("clockarbiter stopped: engines are gone, the clock keeps its last good frequency")
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// beside lists what runs until the end: the loop, and what reads and writes files for it.
func (l *loop) beside(kept *continuity, table *leapseconds.Watcher) []func(context.Context) {
	all := []func(context.Context){l.run, kept.run, table.Run}
	if l.sensor != nil {
		all = append(all, l.sensor.Run)
	}
	if l.checkpoints != nil {
		all = append(all, l.checkpoints.run)
	}
	return all
}

// endTimeout bounds the end: the grace of a child, the KILL after it, and a system call that hangs are in it.
// The unit allows 15 s.
const endTimeout = 12 * time.Second

// bounded waits for what has to end, and says so when it does not: this process ends all the same, and the
// kernel takes the children with it.
func (s *Supervisor) bounded(what string, wait func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	select {
	case <-done:
		return true
	case <-time.After(endTimeout):
		s.options.Log.Error("not everything has ended in time", "what", what, "limit_s", endTimeout.Seconds())
		return false
	}
}

// confine looks for a place where each child gets a cgroup of its own.
func (s *Supervisor) confine() {
	groups, err := process.Delegated()
	if err != nil {
		s.options.Log.Info("children have process groups and resource limits, and no cgroups of their own", "reason", err)
		return
	}
	s.cgroups = groups
	s.options.Log.Info("children have cgroups of their own", "below", groups.String())
}

// Reload reads the configuration again and puts what is new in it into force. Its error says what is
// wrong with the new one; the old one stays then.
func (s *Supervisor) Reload(ctx context.Context) error {
	answerC := make(chan error, 1)
	select {
	case s.reloadC <- answerC:
	case <-ctx.Done():
		return fmt.Errorf("reload: %w", ctx.Err())
	}
	select {
	case err := <-answerC:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reload: %w", ctx.Err())
	}
}

// plan starts what keeps the plan in step with configuration and host.
func (s *Supervisor) plan(ctx context.Context, services *sync.WaitGroup, plan Plan, engines *fleet, orderC chan<- order, reread func(string)) {
	linkC := make(chan string, linkQueue)
	load := s.options.Load
	if load == nil {
		load = func() (*configs.Config, error) { return nil, errors.New("there is no file to read it from") }
	}
	p := &planner{
		cfg: s.cfg, plan: plan, load: load, probe: reprobe, fleet: engines, orderC: orderC,
		reread: reread, linkC: linkC, reloadC: s.reloadC, record: s.record, notify: s.notify, log: s.options.Log,
	}
	services.Go(func() { watchLinks(ctx, linkC, s.options.Log) })
	services.Go(func() { p.run(ctx) })
}

func (s *Supervisor) newFleet(updates chan<- sources.Update, events chan<- process.Event) *fleet {
	return &fleet{build: func(cfg *configs.Config, c Child, p Plan) *engine {
		return &engine{
			child: c, sources: p.sourcesOf(c.Name), process: cfg.Process, host: s.host, log: s.options.Log,
			updates: updates, events: events, cgroups: s.cgroups,
			adapters: func(c Child, h hostClock, log *slog.Logger) []adapter { return adapters(c, h, log, s.fit.Load) },
		}
	}}
}

func (s *Supervisor) newLoop(plan Plan, engines *fleet, updates <-chan sources.Update, events <-chan process.Event) *loop {
	kernel, virtual := s.kernel()
	notifier := &readiness{notify: s.notify}
	return &loop{
		plan: plan, roster: roster.New(plan.roster()), interval: s.cfg.Clock.Interval.Std(), now: s.host.Now,
		arbiter: arbiter.New(arbiterConfig(s.cfg)),
		discipline: clock.NewDiscipline(kernel, clock.DisciplineOptions{
			Interval: s.cfg.Clock.Interval.Std(), MaxSlewPPM: s.cfg.Clock.MaxSlewPPM, MaxFrequencyPPM: s.cfg.Clock.MaxFrequencyPPM,
		}),
		record: s.record, log: s.options.Log, updates: updates, events: events, virtual: virtual,
		children: engines.status,
		identity: Status{Version: s.options.Version, PID: os.Getpid(), Driver: s.cfg.Clock.Driver},
		ticked: func(st Status) {
			// What the virtual driver steers is not the clock that chronyd serves.
			s.fit.Store(st.Clock.Synchronised && virtual == nil)
			notifier.tick(st)
		},
		sensor: newSensor(s.cfg.Clock.Temperature, s.record),
		own:    newOwnership(s.cfg.Clock, s.record, kernel), checkpoints: s.newCheckpoints(kernel),
	}
}

// kernel returns the driver that the configuration names, and for the virtual one the way to compare
// it with the host's clock.
func (s *Supervisor) kernel() (clock.Kernel, func(timescale.Instant, time.Duration) sources.Optional[time.Duration]) {
	switch s.cfg.Clock.Driver {
	case "virtual":
		return s.virtual(), s.hostMinusSteered
	case "observe":
		return clock.NewObserver(s.host), nil
	default:
		return clock.NewSystem(s.host), nil
	}
}

// virtual is the simulated clock: the earlier run's goes on, as the kernel's does.
func (s *Supervisor) virtual() *clock.Virtual {
	v := s.cfg.Clock.Virtual
	if s.earlier != nil && s.earlier.checkpoint.Virtual != nil {
		was, err := clock.ContinueVirtual(s.host.Now, v.FrequencyErrorPPM*1000, *s.earlier.checkpoint.Virtual)
		if err == nil {
			return was
		}
		s.options.Log.Warn("the virtual clock starts anew", "error", err)
	}
	return clock.NewVirtual(s.host.Now, v.InitialOffset.Std(), v.FrequencyErrorPPM*1000)
}

// hostMinusSteered compares the virtual clock with CLOCK_REALTIME at one instant.
func (s *Supervisor) hostMinusSteered(at timescale.Instant, steered time.Duration) sources.Optional[time.Duration] {
	s.host.Observe()
	host, ok := s.host.SystemAt(at)
	if !ok {
		return sources.None[time.Duration]()
	}
	return sources.Some(host - steered)
}

// notify tells the service manager, and reports whether that was possible without waiting for it.
func (s *Supervisor) notify(state string) bool { return s.notices.put(state) }

func (s *Supervisor) tell(state string) {
	if s.options.Notify == nil {
		return
	}
	if err := s.options.Notify(state); err != nil {
		s.options.Log.Warn("service manager not notified", "error", err, "state", strings.SplitN(state, "\n", 2)[0])
	}
}

// release leaves the clock at its last good frequency, without what was being slewed.
func (l *loop) release() {
	if err := l.discipline.Release(); err != nil {
		l.writerFailed(err)
	}
}

// drain writes the last transitions of the children, which ended after the loop.
func (l *loop) drain() {
	l.own.flush(l.now(), true)
	for {
		select {
		case ev := <-l.events:
			l.record.child(ev)
		default:
			return
		}
	}
}

func (p Plan) sourcesOf(child string) []sources.ID {
	var ids []sources.ID
	for _, s := range p.Sources {
		if s.Child == child && !s.Pool {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// lockFile keeps a second supervisor away from the same run directory.
const lockFile = "supervisor.lock"

func lock(runDir string) (unlock func(), err error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	return lockPath(filepath.Join(runDir, lockFile))
}
