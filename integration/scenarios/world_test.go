package scenarios

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

const (
	randomTick    = 250 * time.Millisecond
	randomSeconds = 150
)

// world is one random host with random sources, noise and faults. UTC = L + truth.
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
	sorted  []*actor // as the verdicts are, by ID
	tick    int
	// followed is who was selected last, idle for how many ticks nobody has been although most could.
	followed *actor
	idle     int
	events   func(string) // is told every event
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

	// What the newest decision says of it, and what is true: the middle of its interval relative to the truth, and its
	// half-width, ns.
	state         arbiter.State
	heard         bool
	middle, bound float64
	lied          bool // ever
	selected      int  // ticks in a row, up to its first lie
	followed      bool // long enough, at its first lie
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
	w.sorted = slices.SortedFunc(slices.Values(w.actors), func(a, b *actor) int { return strings.Compare(string(a.id), string(b.id)) })
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
		a.quality = sources.Quality{
			ClockClass: sources.Some[uint8](6), ClockAccuracy: sources.Some(250 * time.Nanosecond), Reference: fmt.Sprint("gm", i),
			PTPTimescale: sources.Some(true), UTCOffset: sources.Some(37 * time.Second),
		}
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

func (a *actor) String() string {
	s := fmt.Sprintf("%s: a sample every %v", a.id, time.Duration(a.every)*randomTick)
	if a.kind == sources.NTP {
		s += fmt.Sprintf(", delay %v, jitter %v, bias %v", time.Duration(a.delay), time.Duration(a.jitter), time.Duration(a.bias))
	}
	if a.lieEnd > 0 {
		s += fmt.Sprintf("; lies from %v to %v by %v and %.0f ppb", time.Duration(a.lieAt)*randomTick, time.Duration(a.lieEnd)*randomTick, time.Duration(a.lie), a.ramp)
	}
	if a.lost[1] > 0 {
		s += fmt.Sprintf("; lost from %v to %v", time.Duration(a.lost[0])*randomTick, time.Duration(a.lost[1])*randomTick)
	}
	return s
}
