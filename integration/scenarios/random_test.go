package scenarios

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
)

// The scenarios are numbered by their seeds: -v -random.first N -random.count 1 plays one again and tells it.
var (
	randomCount = flag.Int("random.count", 10_000, "number of random scenarios; with -short at most 500")
	randomFirst = flag.Uint64("random.first", 1, "seed of the first random scenario")
)

// TestRandomScenarios plays random hosts with random sources, noise and faults and checks what must hold
// in all of them, at every tick.
func TestRandomScenarios(t *testing.T) {
	count := *randomCount
	if testing.Short() {
		count = min(count, 500)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // many small decisions, nothing that stays
	seeds := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range seeds {
				w := newWorld(seed)
				if count == 1 {
					w.tell(t)
				}
				if err := w.run(); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	for i := range count {
		seeds <- *randomFirst + uint64(i)
	}
	close(seeds)
	wg.Wait()
}

// tell logs who takes part and what happens.
func (w *world) tell(t *testing.T) {
	for _, a := range w.actors {
		t.Log(a)
	}
	w.events = func(s string) { t.Log(s) }
}

func (w *world) run() error {
	for w.tick = range randomSeconds * 4 {
		in := w.input()
		d := w.arbiter.Step(in)
		if w.events != nil {
			for _, e := range d.Events {
				w.events(fmt.Sprintf("%6.2f s %v %s %s -> %s: %s", w.seconds(), e.Kind, e.Source, e.From, e.To, e.Reason))
			}
		}
		if err := w.check(in, d); err != nil {
			return fmt.Errorf("second %.2f: %w; decision: %s", w.seconds(), err, brief(d))
		}
		w.obey(d)
	}
	return nil
}

func (w *world) seconds() float64 { return float64(w.tick) * randomTick.Seconds() }

func brief(d arbiter.Decision) string {
	s := fmt.Sprintf("%v %v by %s (%s)", d.Mode, d.Selected, d.Rule, d.Reason)
	for _, v := range d.Verdicts {
		s += fmt.Sprintf("\n  %c %s %s", v.State.Mark(), v.ID, v.Reason)
	}
	return s
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
		return errors.New("no rule, reason or change")
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
	return w.agreed(d)
}

// agreed checks that a step has its event and names the independent sources behind it, all of them believed: in
// these worlds no two sources share anything.
func (w *world) agreed(d arbiter.Decision) error {
	ordered := slices.ContainsFunc(d.Events, func(e arbiter.Event) bool { return e.Kind == arbiter.StepOrdered })
	if ordered != d.Step.Present() || ordered != (len(d.Agreement) > 0) {
		return fmt.Errorf("step %v, agreement of %v, event: %v", d.Step, d.Agreement, ordered)
	}
	if !ordered {
		return nil
	}
	if behind := slices.Compact(slices.Clone(d.Agreement)); len(behind) < min(2, len(w.actors)) {
		return fmt.Errorf("a step with the agreement of %v", behind)
	}
	for _, v := range d.Verdicts {
		if slices.Contains(d.Agreement, v.ID) && v.State < arbiter.Settling {
			return fmt.Errorf("a step with the agreement of %s, which is %v", v.ID, v.State)
		}
	}
	return nil
}

// repeat gives the same input to a second arbiter; of some scenarios as it is recorded.
func (w *world) repeat(in arbiter.Input, d arbiter.Decision) error {
	if w.seed%256 == 0 {
		recorded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		in = arbiter.Input{}
		if err := json.Unmarshal(recorded, &in); err != nil {
			return err
		}
	}
	if again := w.replay.Step(in); !same(d, again) {
		return fmt.Errorf("the replay decides otherwise: %s", brief(again))
	}
	return nil
}

// same compares two decisions; the lists apart from the rest, because reflection takes its time.
func same(a, b arbiter.Decision) bool {
	if !slices.Equal(a.Verdicts, b.Verdicts) || !slices.Equal(a.Events, b.Events) || !slices.Equal(a.Faults, b.Faults) {
		return false
	}
	a.Verdicts, a.Events, a.Faults = nil, nil, nil
	b.Verdicts, b.Events, b.Faults = nil, nil, nil
	return reflect.DeepEqual(a, b)
}

// truthful checks that no falseticker is followed and that the bound contains the truth while the majority of those
// that are heard have never lied, and that one of them is followed where they can be.
//
// What no arbiter can know is left out, and no more. A source that leaves out the truth by less than the others'
// intervals show sends the samples of another host, on which it is right and the others' paths are asymmetric by
// as much as their delays allow. So a liar counts from when an honest interval contradicts it. One that
// jumped while it was followed counts at once, however wide the others are: the oscillator saw it jump. That is so once it has
// been followed for some samples: before, its rate is hardly known, and a jump may be its rate. One that
// ramps looks like an oscillator that changed its rate until the others have seen more. Once a liar is convicted the bound has
// to hold in any case, and so it has in holdover from its target.
func (w *world) truthful(d arbiter.Decision) error {
	w.regard(d)
	if id, ok := d.Selected.Get(); ok {
		w.followed = w.actor(id)
	}
	w.idle++
	if d.Selected.Present() || !w.honest(arbiter.Selectable) {
		w.idle = 0
	}
	if wait := arbiter.DefaultConfig().Step.AgreementWait; w.idle > int(wait/randomTick)+1 {
		return errors.New("nobody is followed, although most could be")
	}
	target, ok := d.Target.Get()
	if !ok {
		return nil
	}
	f := w.followed
	shown := f.followed && f.ramp == 0 || f.state == arbiter.Falseticker
	if d.Selected.Present() && math.Abs(f.middle) > f.bound && w.honest(arbiter.Selectable) && (shown || w.contradicted(f.middle, f.bound)) {
		return fmt.Errorf("%s is followed, which is %.0f ns off, bound %.0f ns", f.id, f.middle, f.bound)
	}
	off, bound := float64(target.Offset)-w.truth, float64(d.Bound.Or(0))
	if math.Abs(off) > bound && w.honest(arbiter.Settling) && (shown || w.contradicted(off, bound)) {
		return fmt.Errorf("target off by %.0f ns, bound %.0f ns", off, bound)
	}
	return nil
}

// knownSamples of a followed source tell its rate.
const knownSamples = 4

// regard takes in what the decision says of every source.
func (w *world) regard(d arbiter.Decision) {
	for i, a := range w.sorted {
		v := d.Verdicts[i]
		offset, has := v.Offset.Get()
		a.state, a.heard = v.State, has && v.State >= arbiter.Falseticker
		a.middle, a.bound = w.system+float64(offset)-w.truth, float64(v.Bound.Or(0))
		a.lied = a.lied || a.error(w.tick) != 0
		if a.lied {
			continue
		}
		if a.selected++; a.state != arbiter.Selected {
			a.selected = 0
		}
		a.followed = a.selected > knownSamples*a.every
	}
}

// honest reports whether more than half of those that are heard have never lied and have come as far as least.
func (w *world) honest(least arbiter.State) bool {
	heard, good := 0, 0
	for _, a := range w.actors {
		if !a.heard {
			continue
		}
		heard++
		if !a.lied && a.state >= least {
			good++
		}
	}
	return 2*good > heard
}

// contradicted reports whether the interval of an honest source shows that the given one is wrong.
func (w *world) contradicted(middle, bound float64) bool {
	return slices.ContainsFunc(w.actors, func(a *actor) bool {
		return a.heard && !a.lied && math.Abs(a.middle-middle) > a.bound+bound
	})
}

func (w *world) actor(id sources.ID) *actor {
	i := slices.IndexFunc(w.actors, func(a *actor) bool { return a.id == id })
	return w.actors[i]
}
