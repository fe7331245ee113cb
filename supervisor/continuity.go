package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
	"clockarbiter/supervisor/state"
)

const (
	// saveEvery is how often the state is written.
	saveEvery = time.Minute
	// worthSavingPPB is the standard deviation of a rate above which a successor learns it as fast.
	worthSavingPPB = 5_000
	// expectFor is how long after the start new sources begin with the rate of the earlier run. Those
	// that come later find a clock that follows others, and a rate that is out of date.
	expectFor = 5 * time.Minute
)

// continuity carries the rate of the oscillator from one run of the supervisor to the next.
type continuity struct {
	path   string
	boot   string
	now    func() time.Time
	record recorder
	log    *slog.Logger
	// newest is what the control loop last knew; the loop never waits for a disk.
	newest atomic.Pointer[state.State]
	failed string
}

func newContinuity(stateDir string, r recorder, log *slog.Logger) *continuity {
	return &continuity{path: filepath.Join(stateDir, state.FileName), boot: state.Boot(), now: time.Now, record: r, log: log}
}

// load returns the rate that an earlier run left, absent where there is none that can be believed.
func (c *continuity) load() sources.Optional[sources.Rate] {
	s, err := state.Load(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return sources.None[sources.Rate]()
	}
	if err != nil {
		c.record.state(PriorityWarning, "State of the earlier run not used: "+err.Error())
		return sources.None[sources.Rate]()
	}
	freq, sd, ok := s.Rate(c.now(), c.boot)
	if !ok {
		c.record.state(PriorityNotice, fmt.Sprintf("State of the earlier run not used: it was saved at %s", s.Saved.Format(time.RFC3339)))
		return sources.None[sources.Rate]()
	}
	c.record.state(PriorityInfo, fmt.Sprintf("State of the earlier run taken up: rate %+.3f ppm, good to %.3f ppm, saved at %s",
		freq/1000, sd/1000, s.Saved.Format(time.RFC3339)))
	return sources.Some(sources.Rate{FreqPPB: freq, SDPPB: sd})
}

// note keeps what a decision says of the oscillator. It is called by the loop and only swaps a pointer.
func (c *continuity) note(d arbiter.Decision) {
	target, ok := d.Target.Get()
	if !ok || d.Mode != arbiter.Locked || !(target.FreqSDPPB > 0 && target.FreqSDPPB < worthSavingPPB) {
		return
	}
	utc := d.At.Near().Add(target.Offset)
	c.newest.Store(&state.State{Saved: utc, Boot: c.boot, FreqPPB: target.FreqPPB, SDPPB: target.FreqSDPPB})
}

// run saves at its pace and once more at the end of ctx.
func (c *continuity) run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.save()
			return
		case <-tick.C:
			c.save()
		}
	}
}

// save writes what is new; an error, such as a full disk, is reported once and costs nothing but the
// continuity.
func (c *continuity) save() {
	s := c.newest.Swap(nil)
	if s == nil {
		return
	}
	err := state.Save(c.path, *s)
	if err == nil {
		c.failed = ""
		return
	}
	if c.failed != err.Error() {
		c.failed = err.Error()
		c.log.Warn("state not saved, a restart would have to learn the rate again", "error", err)
	}
}

// state journals what became of the state of an earlier run.
func (r recorder) state(p Priority, message string) {
	r.write(Entry{Message: message, Priority: p, ID: MessageState, Fields: map[string]string{"EVENT": "state", "REASON": message}})
}

// resume starts from the rate of an earlier run: sources begin with it, and the clock is held at it
// until there is a target.
func (l *loop) resume(rate sources.Optional[sources.Rate]) {
	if r, ok := rate.Get(); ok {
		l.roster.Expect(rate)
		l.discipline.Resume(r.FreqPPB)
	}
}

// remember hands a decision on for the next run, and drops what the last one left when its time is over.
func (l *loop) remember(d arbiter.Decision) {
	if l.state.status.Ticks == uint64(expectFor/l.interval) {
		l.tape.Expect(sources.None[sources.Rate]())
		l.roster.Expect(sources.None[sources.Rate]())
	}
	if l.decided != nil {
		l.decided(d)
	}
}
