package scenarios

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// The scenarios are numbered by their seeds: -random.first N -random.count 1 plays one again.
var (
	randomCount = flag.Int("random.count", 500, "number of random scenarios")
	randomFirst = flag.Uint64("random.first", 1, "seed of the first random scenario")
)

const (
	randomTick    = 250 * time.Millisecond
	randomSeconds = 150
)

// TestRandomScenarios plays random hosts with random sources, noise and faults and checks what must hold
// in all of them.
func TestRandomScenarios(t *testing.T) {
	seeds := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range seeds {
				if err := newWorld(seed).run(); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	for i := range *randomCount {
		seeds <- *randomFirst + uint64(i)
	}
	close(seeds)
	wg.Wait()
}

// world is one random host. UTC = L + truth.
type world struct {
	rng     *rand.Rand
	seed    uint64
	now     timescale.Instant
	truth   float64 // ns
	freq    float64 // ppb
	wander  float64
	system  float64 // the steered clock - L, ns
	roster  *roster.Roster
	arbiter *arbiter.Arbiter
	replay  *arbiter.Arbiter
	actors  []*actor
	tick    int
	broken  int // ticks in a row in which the bound did not contain the truth
	led     int // ticks in a row in which a liar was followed against a majority
}

// actor is one source.
type actor struct {
	id            sources.ID
	kind          sources.Kind
	every, next   int // ticks
	delay, jitter float64
	bias          float64
	lieAt, lieEnd int
	lie, ramp     float64
	lost          [2]int
	quality       sources.Quality
}

func newWorld(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 77))
	w := &world{
		rng: rng, seed: seed, now: 1_800_000_000_000_000_000,
		truth: (rng.Float64() - 0.5) * 1e8, freq: (rng.Float64() - 0.5) * 1e5, wander: math.Exp(rng.Float64()*3 - 1),
	}
	var plan []roster.Planned
	for i := range 1 + rng.IntN(8) {
		a := newActor(rng, i)
		w.actors = append(w.actors, a)
		plan = append(plan, roster.Planned{ID: a.id, Kind: a.kind, Options: arbiter.Options{Prefer: a.kind == sources.PTP && seed%2 == 0}})
	}
	cfg := arbiter.DefaultConfig()
	cfg.Step.WhenRunning = rng.IntN(4) == 0
	w.roster, w.arbiter, w.replay = roster.New(plan), arbiter.New(cfg), arbiter.New(cfg)
	return w
}

func newActor(rng *rand.Rand, i int) *actor {
	a := &actor{id: sources.ID(fmt.Sprintf("ntp:%d", i)), kind: sources.NTP, every: 4 << rng.IntN(5), next: rng.IntN(16), lieAt: math.MaxInt}
	a.delay = math.Exp(9 + 7*rng.Float64()) // 8 us to 9 ms, one way
	a.quality.Stratum, a.quality.RootDispersion = sources.Some[uint8](1), sources.Some(10*time.Microsecond)
	if rng.IntN(3) == 0 {
		a.id, a.kind, a.every = sources.ID(fmt.Sprintf("ptp:eth%d:0", i)), sources.PTP, 4
		a.delay = 0
		a.quality = sources.Quality{ClockClass: sources.Some[uint8](6), ClockAccuracy: sources.Some(250 * time.Nanosecond), Reference: fmt.Sprint("gm", i)}
	}
	a.jitter = max(50, a.delay*0.2*rng.Float64())
	a.bias = a.delay * 0.4 * (2*rng.Float64() - 1)
	if rng.IntN(3) == 0 {
		if a.lieAt = 0; rng.IntN(3) > 0 {
			a.lieAt = rng.IntN(randomSeconds * 4)
		}
		a.lieEnd = a.lieAt + rng.IntN(randomSeconds*4)
		switch rng.IntN(4) {
		case 0:
			a.ramp = (rng.Float64() - 0.5) * 1e6
		case 1:
			a.lie = 37e9 * float64(1-2*rng.IntN(2))
		default:
			a.lie = math.Exp(9+12*rng.Float64()) * float64(1-2*rng.IntN(2))
		}
	}
	if rng.IntN(3) == 0 {
		a.lost[0] = rng.IntN(randomSeconds * 4)
		a.lost[1] = a.lost[0] + rng.IntN(240)
	}
	return a
}

// error is by how much the source's own time is wrong, ns.
func (a *actor) error(tick int) float64 {
	if tick < a.lieAt || tick >= a.lieEnd {
		return 0
	}
	return a.lie + a.ramp*float64(tick-a.lieAt)*randomTick.Seconds()
}

func (w *world) run() error {
	for w.tick = range randomSeconds * 4 {
		in := w.input()
		d := w.arbiter.Step(in)
		if err := w.check(in, d); err != nil {
			return fmt.Errorf("second %.2f: %w; decision: %s", float64(w.tick)/4, err, brief(d))
		}
		w.obey(d)
	}
	return nil
}

func brief(d arbiter.Decision) string {
	s := fmt.Sprintf("%v %v by %s (%s)", d.Mode, d.Selected, d.Rule, d.Reason)
	for _, v := range d.Verdicts {
		s += fmt.Sprintf("\n  %c %s %s", v.State.Mark(), v.ID, v.Reason)
	}
	return s
}

// input moves on by a tick and lets the sources speak.
func (w *world) input() arbiter.Input {
	dt := randomTick.Seconds()
	w.now = w.now.Add(randomTick)
	w.truth += w.freq * dt
	w.freq += w.wander * math.Sqrt(dt) * w.rng.NormFloat64()
	for _, a := range w.actors {
		w.speak(a)
	}
	return w.roster.Input(w.now, time.Duration(w.system))
}

func (w *world) speak(a *actor) {
	report := sources.Report{Source: a.id, At: w.now, Condition: sources.Measuring, Quality: a.quality}
	there, back := a.jitter*w.rng.ExpFloat64(), a.jitter*w.rng.ExpFloat64()
	if w.tick >= a.lost[0] && w.tick < a.lost[1] {
		report.Condition = sources.Unreachable
		w.roster.Take(w.now, sources.Update{Reports: []sources.Report{report}})
		return
	}
	u := sources.Update{Reports: []sources.Report{report}}
	if w.tick >= a.next {
		a.next = w.tick + a.every
		s := sources.Sample{Source: a.id, At: w.now, Dispersion: 50, Quality: a.quality}
		offset := w.truth + a.bias + a.error(w.tick)
		if a.kind == sources.NTP {
			s.Delay = sources.Some(time.Duration(2*a.delay + there + back))
			offset += (there - back) / 2
		} else {
			offset += 30 * w.rng.NormFloat64()
		}
		s.Offset = time.Duration(offset)
		u.Samples = append(u.Samples, s)
	}
	w.roster.Take(w.now, u)
}

// obey lets the clock follow as a discipline does.
func (w *world) obey(d arbiter.Decision) {
	dt := randomTick.Seconds()
	if step, ok := d.Step.Get(); ok {
		w.system += float64(step)
	}
	if target, ok := d.Target.Get(); ok {
		left := float64(target.Offset) - w.system
		w.system += target.FreqPPB*dt + max(-400e3*dt, min(400e3*dt, left/2))
	}
}

func (w *world) check(in arbiter.Input, d arbiter.Decision) error {
	if err := w.complete(d); err != nil {
		return err
	}
	if err := w.repeat(in, d); err != nil {
		return err
	}
	return w.truthful(d)
}

// complete checks what holds of every decision.
func (w *world) complete(d arbiter.Decision) error {
	selected := 0
	for _, v := range d.Verdicts {
		if v.State == 0 || v.Reason == "" {
			return fmt.Errorf("%s has no state or no reason", v.ID)
		}
		if v.State == arbiter.Selected {
			selected++
		}
	}
	following := d.Mode == arbiter.Acquiring || d.Mode == arbiter.Locked
	switch {
	case selected > 1 || following != (selected == 1) || following != d.Selected.Present():
		return fmt.Errorf("%d selected in mode %v", selected, d.Mode)
	case d.Rule == "" || d.Reason == "" || d.Change == "":
		return fmt.Errorf("no rule, reason or change")
	case d.Step.Present() && len(d.Agreement) < min(2, len(w.actors)):
		return fmt.Errorf("a step with the agreement of %v", d.Agreement)
	}
	for _, e := range d.Events {
		if e.Reason == "" {
			return fmt.Errorf("event without reason: %+v", e)
		}
	}
	for _, f := range d.Faults {
		if f.Name == "" || f.Evidence == "" {
			return fmt.Errorf("fault without name or evidence: %+v", f)
		}
	}
	return nil
}

// repeat gives the same input to a second arbiter; of every sixteenth scenario as it is recorded.
func (w *world) repeat(in arbiter.Input, d arbiter.Decision) error {
	if w.seed%16 == 0 {
		recorded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		in = arbiter.Input{}
		if err := json.Unmarshal(recorded, &in); err != nil {
			return err
		}
	}
	if again := w.replay.Step(in); !reflect.DeepEqual(d, again) {
		return fmt.Errorf("the replay decides otherwise: %s", brief(again))
	}
	return nil
}

// patience is how long a false figure may stand: what a tracker needs to be sure, three samples and the
// fourth.
func (w *world) patience() int {
	longest := 0
	for _, a := range w.actors {
		longest = max(longest, a.every)
	}
	return 4*longest + 20
}

// truthful checks, where most sources never lie and are never lost, that the bound contains the truth and
// that no liar is followed.
func (w *world) truthful(d arbiter.Decision) error {
	honest, ramps := 0, false
	for _, a := range w.actors {
		if a.lieAt == math.MaxInt && a.lost[1] == 0 {
			honest++
		}
		ramps = ramps || a.ramp != 0
	}
	target, ok := d.Target.Get()
	if 2*honest <= len(w.actors) || !ok {
		w.broken, w.led = 0, 0
		return nil
	}
	selected, _ := d.Selected.Get()
	w.led++
	a := w.actor(selected)
	if a == nil || math.Abs(a.error(w.tick)) <= float64(d.Bound.Or(0)) {
		w.led = 0
	}
	// After a lie has ended the estimate needs as long to find back as it needed to find the lie.
	recovering := a != nil && w.tick >= a.lieEnd && w.tick < a.lieEnd+w.patience()
	w.broken++
	if ramps || recovering || w.led > 0 || math.Abs(float64(target.Offset)-w.truth) <= float64(d.Bound.Or(0)) {
		w.broken = 0
	}
	switch {
	case w.led > w.patience():
		return fmt.Errorf("%s is followed, which lies by %.0f ns", selected, w.actor(selected).error(w.tick))
	case w.broken > 8:
		return fmt.Errorf("target off by %.0f ns, bound %v, for 2 s", float64(target.Offset)-w.truth, d.Bound)
	}
	return nil
}

func (w *world) actor(id sources.ID) *actor {
	for _, a := range w.actors {
		if a.id == id {
			return a
		}
	}
	return nil
}
