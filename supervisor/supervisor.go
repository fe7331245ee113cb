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
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/sources"
	"clockarbiter/supervisor/process"
)

// Queues between the engines and the loop: an engine that finds one full waits, the loop never does.
const (
	updateQueue = 256
	eventQueue  = 256
)

// Options are what the command line and the host give beside the configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	Journal Journal
	// Notify tells the service manager how we are; nil: nobody.
	Notify Notifier
}

// Supervisor runs the engines, the control loop and the status socket.
type Supervisor struct {
	cfg     *configs.Config
	options Options
	host    *clock.Host
	record  recorder
}

// New prepares a supervisor; nothing runs and no clock is touched yet.
func New(cfg *configs.Config, o Options) (*Supervisor, error) {
	host, err := clock.NewHost()
	if err != nil {
		return nil, fmt.Errorf("start the local timescale: %w", err)
	}
	boot := strconv.FormatInt(int64(host.Now()/timescale.Instant(time.Millisecond)), 36)
	return &Supervisor{
		cfg: cfg, options: o, host: host,
		record: recorder{journal: o.Journal, log: o.Log, boot: boot},
	}, nil
}

// Run supervises until ctx is done, then stops every child and returns nil. It returns an error when
// it could not start, or when the status socket is lost.
func (s *Supervisor) Run(ctx context.Context, plan Plan) error {
	unlock, err := lock(s.cfg.Paths.RunDir)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	updates, events := make(chan sources.Update, updateQueue), make(chan process.Event, eventQueue)
	engines := s.engines(plan, updates, events)
	l := s.newLoop(plan, engines, updates, events)
	var children, services sync.WaitGroup
	for _, e := range engines {
		children.Go(func() { e.run(ctx, plan.sourcesOf(e.child.Name)) })
	}
	server := NewStatusServer(s.cfg.Paths.StatusSocket, l.snapshot, s.options.Log)
	services.Go(func() {
		if err := server.Run(ctx); err != nil {
			cancel(err)
		}
	})
	s.record.started(fmt.Sprintf("clockarbiter %s started: driver %s, %d engine(s), %d configured source(s)", s.options.Version, s.cfg.Clock.Driver, len(engines), len(plan.Sources)))
	services.Go(func() { l.run(ctx) })

	<-ctx.Done()
	s.notify("STOPPING=1\nSTATUS=stopping the engines")
	children.Wait()
	services.Wait()
	l.release()
	l.drain()
	s.record.stopped("clockarbiter stopped: engines are gone, the clock keeps its last good frequency")
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func (s *Supervisor) engines(plan Plan, updates chan<- sources.Update, events chan<- process.Event) []*engine {
	out := make([]*engine, 0, len(plan.Children))
	for _, c := range plan.Children {
		out = append(out, &engine{
			cfg: s.cfg, host: s.host, log: s.options.Log, updates: updates, events: events, child: c,
			replan: func(ctx context.Context) Plan { return NewPlan(s.cfg, Probe(ctx, s.cfg)) },
		})
	}
	return out
}

func (s *Supervisor) newLoop(plan Plan, engines []*engine, updates <-chan sources.Update, events <-chan process.Event) *loop {
	kernel, virtual := s.kernel()
	notifier := &readiness{notify: s.notify}
	return &loop{
		plan: plan, interval: s.cfg.Clock.Interval.Std(), now: s.host.Now,
		arbiter: arbiter.New(arbiterConfig(s.cfg)),
		discipline: clock.NewDiscipline(kernel, clock.DisciplineOptions{
			Interval: s.cfg.Clock.Interval.Std(), MaxSlewPPM: s.cfg.Clock.MaxSlewPPM, MaxFrequencyPPM: s.cfg.Clock.MaxFrequencyPPM,
		}),
		record: s.record, log: s.options.Log, updates: updates, events: events, virtual: virtual,
		children: func() []ChildStatus {
			list := make([]ChildStatus, 0, len(engines))
			for _, e := range engines {
				list = append(list, e.status())
			}
			return list
		},
		identity: Status{Version: s.options.Version, PID: os.Getpid(), Driver: s.cfg.Clock.Driver},
		ticked:   notifier.tick,
	}
}

// kernel returns the driver that the configuration names, and for the virtual one the way to compare
// it with the host's clock.
func (s *Supervisor) kernel() (clock.Kernel, func(timescale.Instant, time.Duration) sources.Optional[time.Duration]) {
	switch s.cfg.Clock.Driver {
	case "virtual":
		v := s.cfg.Clock.Virtual
		return clock.NewVirtual(s.host.Now, v.InitialOffset.Std(), v.FrequencyErrorPPM*1000), s.hostMinusSteered
	case "observe":
		return clock.NewObserver(s.host), nil
	default:
		return clock.NewSystem(s.host), nil
	}
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

func (s *Supervisor) notify(state string) {
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
