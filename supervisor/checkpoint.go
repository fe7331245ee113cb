package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/configs"
	"clockarbiter/recording"
	"clockarbiter/supervisor/checkpoint"
	"clockarbiter/supervisor/sealed"
	"clockarbiter/supervisor/state"
)

const (
	// checkpointEvery is how often the state is left for a successor.
	checkpointEvery = time.Second
	// sourcesPerSecond is how many more sources make it a second longer: to copy what is known of eight
	// takes about a millisecond of the control loop.
	sourcesPerSecond = 8
	// goodRun is how long a run has to last to count as one that its state did not bring down.
	goodRun = time.Minute
)

// earlier is the run that this one continues.
type earlier struct {
	checkpoint *checkpoint.Checkpoint
	// arbiter and roster are nil where only its virtual clock goes on, as the kernel's always does.
	arbiter *arbiter.Arbiter
	roster  *roster.Roster
}

// checkpoints leaves the state of the control loop in the run directory, for a successor of this boot. The
// loop hands a copy over and never waits for a disk.
type checkpoints struct {
	path    string
	every   uint64 // ticks
	good    uint64 // ticks
	of      checkpoint.Checkpoint
	virtual *clock.Virtual
	newest  chan *checkpoint.Checkpoint
	record  recorder
	failed  string
}

// present is what a checkpoint is compared with.
func present(cfg *configs.Config, version string, h *clock.Host) checkpoint.Present {
	o := h.Observe()
	return checkpoint.Present{
		Boot: state.Boot(), Program: recording.Program{Version: version, Revision: recording.Revision()}, Driver: cfg.Clock.Driver,
		Raw: time.Duration(o.At) - h.Anchor(), Realtime: time.Duration(o.At) + o.Offset,
	}
}

// recall returns the run that this one continues, nil where there is none, and why not, empty where none
// was to be expected.
func recall(path string, now checkpoint.Present) (*earlier, string) {
	c, err := checkpoint.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ""
	}
	if err != nil {
		return nil, err.Error()
	}
	a, r, err := c.Restore(now)
	switch {
	case err == nil:
		return &earlier{checkpoint: c, arbiter: a, roster: r}, ""
	case c.Virtual != nil && c.Concerns(now) == nil:
		return &earlier{checkpoint: c}, err.Error()
	}
	return nil, err.Error()
}

// newHost is the local timescale: that of the earlier run where there is one to continue.
func (s *Supervisor) newHost() error {
	h, err := clock.NewHost()
	if err != nil {
		return fmt.Errorf("start the local timescale: %w", err)
	}
	s.host = h
	s.earlier, s.noEarlier = recall(filepath.Join(s.cfg.Paths.RunDir, checkpoint.FileName), present(s.cfg, s.options.Version, h))
	if s.earlier == nil {
		return nil
	}
	if s.host, err = clock.ContinueHost(s.earlier.checkpoint.Anchor); err != nil {
		return fmt.Errorf("continue the local timescale: %w", err)
	}
	return nil
}

func (s *Supervisor) newCheckpoints(k clock.Kernel) *checkpoints {
	now := present(s.cfg, s.options.Version, s.host)
	shape, err := recording.Shape()
	if err != nil {
		s.options.Log.Error("no checkpoints: a restart will have to learn again", "error", err)
		return nil
	}
	virtual, _ := k.(*clock.Virtual)
	return &checkpoints{
		path:  filepath.Join(s.cfg.Paths.RunDir, checkpoint.FileName),
		every: max(1, uint64(checkpointEvery/s.cfg.Clock.Interval.Std())), good: uint64(goodRun / s.cfg.Clock.Interval.Std()),
		of:      checkpoint.Checkpoint{Boot: now.Boot, Program: now.Program, Shape: shape, Driver: now.Driver, Anchor: s.host.Anchor()},
		virtual: virtual, newest: make(chan *checkpoint.Checkpoint, 1), record: s.record,
	}
}

// takeUp continues the earlier run, or starts with the rate that one left longer ago.
func (s *Supervisor) takeUp(l *loop, kept *continuity) {
	if s.noEarlier != "" {
		s.record.state(PriorityNotice, "The earlier run is not continued: "+s.noEarlier)
	}
	e := s.earlier
	if e == nil || e.arbiter == nil {
		l.resume(kept.load())
		return
	}
	if l.checkpoints != nil {
		l.checkpoints.of.Taken = e.checkpoint.Taken + 1
	}
	if err := countUse(filepath.Join(s.cfg.Paths.RunDir, checkpoint.FileName), e.checkpoint); err != nil {
		s.record.state(PriorityWarning, "The earlier run is not continued: how often it was could not be counted: "+err.Error())
		l.resume(kept.load())
		return
	}
	l.continueRun(e, arbiterConfig(s.cfg))
	s.record.state(PriorityNotice, fmt.Sprintf("Continues the run that ended %s ago: its estimates, its verdicts and its local timescale",
		l.now().Sub(e.checkpoint.At).Round(time.Millisecond)))
}

// countUse writes down that a checkpoint is about to be taken up once more.
func countUse(path string, c *checkpoint.Checkpoint) error {
	again := *c
	again.Taken++
	data, err := again.Encode()
	if err != nil {
		return err
	}
	return sealed.Replace(path, data, false)
}

// continueRun makes the state of an earlier run this one's, under the present plan and thresholds.
func (l *loop) continueRun(e *earlier, thresholds arbiter.Config) {
	l.arbiter, l.roster = e.arbiter, e.roster
	l.arbiter.Configure(thresholds)
	in := l.roster.Input(e.checkpoint.At, e.checkpoint.System)
	in.Now = l.now()
	l.arbiter.Resume(in)
	l.roster.Replan(l.plan.roster())
	l.discipline.Recall(e.checkpoint.Servo)
}

// note leaves a checkpoint where it is time and where there is something to hold over from: a clock that
// is ours and has a target.
func (c *checkpoints) note(l *loop, d arbiter.Decision, r clock.TickReport) {
	ticks := l.state.status.Ticks
	if c == nil || ticks%(c.every*uint64(1+len(l.roster.Sources())/sourcesPerSecond)) != 0 || !d.Target.Present() || l.own.defence.stance != defending {
		return
	}
	memory, ok := l.discipline.Memory()
	if !ok {
		return
	}
	if ticks >= c.good {
		c.of.Taken = 0
	}
	next := c.of
	next.At, next.System, next.Servo = r.Before.At, r.Before.Offset, memory
	if r.Applied {
		next.System += r.Command.Step.Or(0)
	}
	if c.virtual != nil {
		now := c.virtual.State()
		next.Virtual = &now
	}
	next.State = recording.NewKeyframe(l.arbiter, l.roster, 0)
	select {
	case <-c.newest: // the disk is slow: what waits is out of date
	default:
	}
	c.newest <- &next
}

// run writes what it is handed until ctx is done.
func (c *checkpoints) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-c.newest:
			c.save(next)
		}
	}
}

// save replaces the file; an error, such as a full disk, is reported once and costs the continuity alone.
func (c *checkpoints) save(next *checkpoint.Checkpoint) {
	data, err := next.Encode()
	if err == nil {
		err = sealed.Replace(c.path, data, false)
	}
	if err == nil {
		c.failed = ""
		return
	}
	if c.failed != err.Error() {
		c.failed = err.Error()
		c.record.log.Warn("checkpoint not written, a restart would have to learn again", "error", err)
	}
}
