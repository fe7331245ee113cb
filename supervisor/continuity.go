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
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
	"clockarbiter/supervisor/state"
)

const (
	// saveEvery is how often the state is written.
	saveEvery = time.Minute
	// rememberEvery is how often what is to be saved is looked up: a clock interval or more.
	rememberEvery = 4 * time.Second
	// worthSavingPPB is the standard deviation of a rate above which a successor learns it as fast.
	worthSavingPPB = 5_000
	// expectFor is how long after the start new sources begin with the rate of the earlier run. Those
	// that come later find a clock that follows others, and a rate that is out of date.
	expectFor = 5 * time.Minute
)

// continuity carries the rate of the oscillator and the sources' biases from one run of the supervisor to
// the next.
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

// inheritance is what one run leaves to the next in the state file.
type inheritance struct {
	rate    sources.Optional[sources.Rate]
	biases  []arbiter.Bias
	crystal sources.Optional[arbiter.Crystal]
}

// load returns what an earlier run left, as far as it can be believed.
func (c *continuity) load() inheritance {
	s, err := state.Load(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return inheritance{}
	}
	if err != nil {
		c.record.state(PriorityWarning, "State of the earlier run not used: "+err.Error())
		return inheritance{}
	}
	left := inheritance{biases: biasesOf(s), crystal: crystalOf(s)}
	freq, sd, ok := s.Rate(c.now(), c.boot)
	if !ok {
		c.record.state(PriorityNotice, fmt.Sprintf("State of the earlier run: its rate is not used, it was saved at %s; biases of %d source(s)", s.Saved.Format(time.RFC3339), len(s.Biases)))
		return left
	}
	c.record.state(PriorityInfo, fmt.Sprintf("State of the earlier run taken up: rate %+.3f ppm, good to %.3f ppm, biases of %d source(s), saved at %s",
		freq/1000, sd/1000, len(s.Biases), s.Saved.Format(time.RFC3339)))
	left.rate = sources.Some(sources.Rate{FreqPPB: freq, SDPPB: sd})
	return left
}

// biasesOf and keptBiases translate between the file and the arbiter.
func biasesOf(s state.State) []arbiter.Bias {
	var out []arbiter.Bias
	for _, b := range s.Biases {
		out = append(out, arbiter.Bias{ID: sources.ID(b.ID), Reference: b.Reference, Offset: b.Offset, SD: b.SD, Learnt: timescale.Instant(b.Learnt.UnixNano())})
	}
	return out
}

func keptBiases(list []arbiter.Bias) []state.Bias {
	var out []state.Bias
	for _, b := range list {
		kept := state.Bias{ID: string(b.ID), Reference: b.Reference, Offset: b.Offset, SD: b.SD, Learnt: b.Learnt.Near().UTC()}
		if kept.Check() == nil { // one that the file refuses must not cost the others
			out = append(out, kept)
		}
	}
	return out
}

// crystalOf and keptCrystal translate between the file and the arbiter.
func crystalOf(s state.State) sources.Optional[arbiter.Crystal] {
	c := s.Crystal
	if c == nil {
		return sources.None[arbiter.Crystal]()
	}
	return sources.Some(arbiter.Crystal{
		PPBPerKelvin: c.PPBPerKelvin, PPBPerKelvinSD: c.PPBPerKelvinSD, AgeingPPBPerDay: c.AgeingPPBPerDay,
		AgeingPPBPerDaySD: c.AgeingPPBPerDaySD, Coldest: c.Coldest, Warmest: c.Warmest, Unexplained: c.Unexplained, Learnt: timescale.Instant(c.Learnt.UnixNano()),
	})
}

func keptCrystal(known sources.Optional[arbiter.Crystal]) *state.Crystal {
	c, ok := known.Get()
	if !ok {
		return nil
	}
	kept := &state.Crystal{
		PPBPerKelvin: c.PPBPerKelvin, PPBPerKelvinSD: c.PPBPerKelvinSD, AgeingPPBPerDay: c.AgeingPPBPerDay,
		AgeingPPBPerDaySD: c.AgeingPPBPerDaySD, Coldest: c.Coldest, Warmest: c.Warmest, Unexplained: c.Unexplained, Learnt: c.Learnt.Near().UTC(),
	}
	if kept.Check() != nil {
		return nil
	}
	return kept
}

// note keeps what a decision says of the oscillator, and what is known beside it. It is called by the loop and
// only swaps a pointer.
func (c *continuity) note(d arbiter.Decision, known inheritance) {
	target, ok := d.Target.Get()
	if !ok || d.Mode != arbiter.Locked || !(target.FreqSDPPB > 0 && target.FreqSDPPB < worthSavingPPB) {
		return
	}
	utc := d.At.Near().Add(target.Offset)
	c.newest.Store(&state.State{Saved: utc, Boot: c.boot, FreqPPB: target.FreqPPB, SDPPB: target.FreqSDPPB, Biases: keptBiases(known.biases), Crystal: keptCrystal(known.crystal)})
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

// resume starts from what an earlier run left: sources begin with its rate and its biases, and the clock is
// held at the rate until there is a target.
func (l *loop) resume(left inheritance) {
	l.arbiter.Inherit(left.biases)
	if c, ok := left.crystal.Get(); ok {
		l.arbiter.InheritCrystal(c)
	}
	if r, ok := left.rate.Get(); ok {
		l.roster.Expect(left.rate)
		l.discipline.Resume(r.FreqPPB)
	}
}

// remember hands a decision on for the next run, and drops what the last one left when its time is over.
func (l *loop) remember(d arbiter.Decision) {
	ticks := l.state.status.Ticks
	if ticks == uint64(expectFor/l.interval) {
		l.tape.Expect(sources.None[sources.Rate]())
		l.roster.Expect(sources.None[sources.Rate]())
	}
	if l.decided != nil && ticks%uint64(rememberEvery/l.interval) == 0 {
		l.decided(d, inheritance{biases: l.arbiter.Biases(d.At), crystal: l.arbiter.Crystal(d.At)})
	}
}
