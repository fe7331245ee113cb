package sim

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Epoch is UTC at the start of every scenario: 2026-01-01T00:00:00Z.
const Epoch = timescale.Instant(1_767_225_600_000_000_000)

// world is a running scenario.
type world struct {
	scenario   Scenario
	now        Elapsed
	queue      queue
	oscillator *Oscillator
	sources    []*source
	host       *host
	recorder   recorder
	peers      []Peer
	told       func(Fault)
	leapt      time.Duration // UTC by leap seconds
}

// l returns L in ns since Epoch.
func (w *world) l(at Elapsed) float64 { return float64(at) + w.oscillator.Phase(at) }

// Run runs a scenario to its end. The error is one of the scenario itself, or of the simulated host;
// a broken assertion is part of the Result.
func Run(s Scenario) (Result, error) { return RunWithPeers(s, nil, nil) }

// RunWithPeers runs a scenario of one source and gives each of its samples to the peers as well, whose
// errors are in the Result. told, unless it is nil, hears of each fault as it happens: an oracle is told
// the truth.
func RunWithPeers(s Scenario, peers []Peer, told func(Fault)) (Result, error) {
	for _, err := range s.check() {
		return Result{}, fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	w := newWorld(s)
	w.peers, w.told = peers, told
	w.recorder.peers = make([]Series, len(peers))
	w.queue.runUntil(Elapsed(s.Duration))
	if w.host.err != nil {
		return Result{}, fmt.Errorf("scenario %q: %w", s.Name, w.host.err)
	}
	return w.result(), nil
}

func newWorld(s Scenario) *world {
	w := &world{scenario: s, oscillator: NewOscillator(s.Oscillator, s.Seed)}
	w.queue.watch = func(now Elapsed) { w.now = now }
	w.host = newHost(w)
	w.recorder = newRecorder(s)
	for _, f := range s.Faults {
		w.queue.schedule(Elapsed(f.At), func(now Elapsed) { w.fail(now, f) })
	}
	for _, spec := range s.Sources {
		src := newSource(w, spec)
		src.start()
		w.sources = append(w.sources, src)
	}
	w.queue.every(tickPhase, w.host.interval, w.host.tick)
	w.queue.every(truthInterval/2, truthInterval, w.observe)
	return w
}

// tickPhase puts the control ticks a little after the readings of whole seconds, where a daemon that
// reads and then ticks has them.
const tickPhase Elapsed = 5_000_000

// truthInterval is the distance of the samples of the true error: 10 Hz. They fall between the
// readings and the control ticks, so that neither side of a jump is preferred.
const truthInterval Elapsed = 100_000_000

// observe records the truth.
func (w *world) observe(now Elapsed) {
	control, ok := w.host.control(now)
	if !ok {
		control = math.NaN()
	}
	calm := control
	if now-w.host.heard <= 2*w.host.interval {
		calm = math.NaN()
	}
	w.recorder.observe(w.host.error(now), control, calm, w.host.bound())
	phase := w.oscillator.Phase(now)
	for i, p := range w.peers {
		w.recorder.peers[i].Values = append(w.recorder.peers[i].Values, p.Clock(float64(now)+phase)+phase)
	}
}

// fail makes a fault happen.
func (w *world) fail(now Elapsed, f Fault) {
	w.oscillator.Phase(now) // the past is not changed by what happens now
	w.recorder.events = append(w.recorder.events, Event{At: now, Kind: "fault", Source: f.Source, Text: f.String()})
	if w.told != nil {
		w.told(f)
	}
	switch f.Kind {
	case FaultWander:
		w.oscillator.SetRandomWalk(w.scenario.Oscillator.RandomWalkFM * f.Value)
	case FaultFrequency:
		w.oscillator.ShiftFrequency(f.Value)
	case FaultSuspend:
		w.suspend(now, Elapsed(f.For))
	case FaultLeapSecond:
		w.leapt -= time.Duration(f.Value) * time.Second
	case FaultPause:
		w.host.sleep(now + Elapsed(f.For))
	case FaultForeignStep:
		w.host.foreignStep(time.Duration(f.Offset))
	case FaultKill:
		w.host.kill(now, f)
	default:
		for _, s := range w.sources {
			if f.Source == "" || f.Source == s.spec.ID {
				s.fail(now, f)
			}
		}
	}
}

// suspend stops L and the host, which hears nothing meanwhile. The kernel steps its clock by the time slept when it wakes, from a
// battery-backed clock: here exactly.
func (w *world) suspend(now, d Elapsed) {
	w.host.sleep(now + d)
	w.host.suspended = true
	w.queue.schedule(now+d, func(now Elapsed) {
		w.host.suspended = false
		w.oscillator.Phase(now)
		w.oscillator.Suspend(d)
		w.host.foreignStep(time.Duration(d))
	})
}

// fail makes a fault of this source happen.
func (s *source) fail(now Elapsed, f Fault) {
	switch f.Kind {
	case FaultDie:
		s.dead = true
		s.world.host.take(now, sources.Update{Reports: []sources.Report{s.report(now, sources.Unreachable)}})
	case FaultHang:
		s.hung = true
	case FaultReturn:
		s.dead, s.hung, s.frozen = false, false, false
	case FaultLie:
		s.lie += float64(f.Offset)
	case FaultRamp:
		s.lie = s.error(now)
		s.ramp, s.rampFrom, s.rampTo = f.Value, now, now+Elapsed(f.For)
	case FaultNoise:
		s.noise.sigma *= f.Value
		s.path.scale *= f.Value
	case FaultCongestion:
		s.path.congestion, s.path.congestedUntil = float64(f.Offset), now+Elapsed(f.For)
	case FaultRoute:
		s.path.spec.Delay = f.Offset
	case FaultAsymmetry:
		s.path.spec.Asymmetry = f.Offset
	case FaultClass:
		s.spec.ClockClass = uint8(f.Value)
	case FaultAccuracy:
		s.spec.ClockAccuracy = f.Offset
	case FaultGrandmaster:
		s.spec.Grandmaster = f.Name
	case FaultUTCOffset:
		s.lie += f.Value * 37e9
	case FaultLeap:
		s.leap = leapOf(f.Value)
	default:
		s.misbehave(now, f)
	}
}

// misbehave makes the faults of a source's own date, of what it says of itself, and of its engine.
func (s *source) misbehave(now Elapsed, f Fault) {
	switch f.Kind {
	case FaultFlap:
		s.flap(now, f)
	case FaultFlags:
		s.spec.Flags = f.Name
	case FaultReference:
		s.spec.Reference = f.Name
	case FaultDate:
		s.lie, s.ramp = 0, 0
		if at, _ := date(f.Name); f.Name != "" {
			s.lie = float64(at.Sub(Epoch)) - float64(now)
		}
	case FaultFreeze:
		s.frozen = true
	case FaultStop:
		s.lie = s.error(now)
		s.ramp, s.rampFrom, s.rampTo = -1e9, now, now+Elapsed(f.For)
	case FaultFuture:
		s.ahead = time.Duration(f.Offset)
	}
}

// flap dies and returns in turn.
func (s *source) flap(now Elapsed, f Fault) {
	if next := now + Elapsed(f.Offset); now < Elapsed(f.At)+Elapsed(f.For) {
		s.fail(now, Fault{Kind: FaultDie})
		s.world.queue.schedule(next, func(now Elapsed) {
			s.fail(now, Fault{Kind: FaultReturn})
			s.world.queue.schedule(now+Elapsed(f.Offset), func(now Elapsed) { s.flap(now, f) })
		})
	}
}

func leapOf(value float64) sources.Leap {
	switch {
	case value > 0:
		return sources.LeapInsert
	case value < 0:
		return sources.LeapDelete
	}
	return sources.LeapNone
}

// foreignStep is a step of the clock by somebody else.
func (h *host) foreignStep(d time.Duration) {
	reading, err := h.kernel.Read()
	if err != nil {
		h.err = fmt.Errorf("read the simulated clock: %w", err)
		return
	}
	c := h.report.Command
	c.FreqPPB, c.Step = sources.Some(reading.FreqPPB), sources.Some(d)
	if err := h.kernel.Apply(c); err != nil {
		h.err = fmt.Errorf("step the simulated clock: %w", err)
	}
}

// String says what happens, for a person.
func (f Fault) String() string {
	text := string(f.Kind)
	if f.Source != "" {
		text += " " + string(f.Source)
	}
	if f.Value != 0 {
		text += fmt.Sprintf(" %g", f.Value)
	}
	if f.Offset != 0 {
		text += " " + time.Duration(f.Offset).String()
	}
	if f.Name != "" {
		text += " " + f.Name
	}
	if f.For != 0 {
		text += " for " + time.Duration(f.For).String()
	}
	return text
}

// recorder keeps what happened.
type recorder struct {
	error   Series
	control []float64
	calm    []float64 // control, where no sample came in the last two periods
	bound   []float64
	events  []Event
	peers   []Series
	slices  []slice
	steps   int
}

// slice is what the arbiter said from an instant on, until it said otherwise.
type slice struct {
	at       Elapsed
	mode     arbiter.Mode
	selected sources.ID
	states   []arbiter.State
	ids      []sources.ID
}

// Event is one entry of a run's log.
type Event struct {
	At     Elapsed    `json:"at_ns"`
	Kind   string     `json:"kind"`
	Source sources.ID `json:"source,omitempty"`
	Text   string     `json:"text"`
}

func newRecorder(s Scenario) recorder {
	n := int(Elapsed(s.Duration)/truthInterval) + 1
	return recorder{
		error:   Series{Interval: truthInterval, Start: truthInterval / 2, Values: make([]float64, 0, n)},
		control: make([]float64, 0, n),
		bound:   make([]float64, 0, n),
	}
}

func (r *recorder) observe(err, control, calm, bound float64) {
	r.error.Values = append(r.error.Values, err)
	r.control = append(r.control, control)
	r.calm = append(r.calm, calm)
	r.bound = append(r.bound, bound)
}

// note keeps the events of a decision, and the decision where it differs from the one before.
func (r *recorder) note(now Elapsed, d arbiter.Decision) {
	for _, e := range d.Events {
		text := fmt.Sprintf("%s -> %s: %s", e.From, e.To, e.Reason)
		if e.Kind == arbiter.StepOrdered {
			r.steps++
			text = fmt.Sprintf("%v: %s", e.Offset, e.Reason)
		}
		r.events = append(r.events, Event{At: now, Kind: e.Kind.String(), Source: e.Source, Text: text})
	}
	if len(r.slices) > 0 && len(d.Events) == 0 {
		return
	}
	s := slice{at: now, mode: d.Mode, selected: d.Selected.Or("")}
	for _, v := range d.Verdicts {
		s.ids, s.states = append(s.ids, v.ID), append(s.states, v.State)
	}
	r.slices = append(r.slices, s)
}
