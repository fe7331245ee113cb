package clock

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/sources"
)

var disciplineOptions = DisciplineOptions{Interval: 250 * time.Millisecond, MaxSlewPPM: 400, MaxFrequencyPPM: 500}

// target is a source that is offset ahead of L at the hand's start and gains ppb.
func target(h *hand, offset time.Duration, ppb float64) sources.Optional[sources.Estimate] {
	elapsed := float64(h.at) - float64(bootUTC)
	return sources.Some(sources.Estimate{At: h.at, Offset: offset + time.Duration(math.Round(ppb*1e-9*elapsed)), FreqPPB: ppb, OffsetSD: 10})
}

func mustTick(t *testing.T, d *Discipline, in TickInput) TickReport {
	t.Helper()
	r, err := d.Tick(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDisciplineSteersTheVirtualClock(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 15*time.Millisecond, 40_000)
	d := NewDiscipline(v, disciplineOptions)
	step := sources.Some(-15 * time.Millisecond)
	for n := range 400 {
		in := TickInput{Target: target(h, 0, -7_000), Bound: 100 * time.Microsecond, Synchronised: true}
		if n == 2 {
			in.Step = step
		}
		r := mustTick(t, d, in)
		if n > 2 && r.Servo.Unexplained != 0 {
			t.Fatalf("tick %d: our own command counts as foreign: %v", n, r.Servo.Unexplained)
		}
		h.advance(disciplineOptions.Interval)
	}
	elapsed := float64(h.at) - float64(bootUTC)
	truth := time.Duration(math.Round(-7_000e-9 * elapsed))
	if off := (v.At(h.at) - truth).Abs(); off > 5 {
		t.Errorf("%v off after 100 s, want within 5 ns", off)
	}
}

func TestDisciplineSteersTheSystemClock(t *testing.T) {
	k := newFakeKernel()
	s := k.system()
	d := NewDiscipline(s, disciplineOptions)
	for n := range 300 {
		at := s.host.FromMonotonicRaw(k.raw)
		est := sources.Estimate{At: at, Offset: 5*time.Millisecond + time.Duration(20e-6*float64(int64(at)-bootUTC)), FreqPPB: 20_000, OffsetSD: 10}
		in := TickInput{Target: sources.Some(est), Synchronised: true, Bound: time.Microsecond}
		if n == 0 {
			in.Step = sources.Some(7 * time.Millisecond)
		}
		r := mustTick(t, d, in)
		if r.Before.Foreign.Present() || n > 0 && r.Servo.Unexplained != 0 {
			t.Fatalf("tick %d: our own command counts as foreign: %+v", n, r)
		}
		if left := r.Servo.Error.Or(time.Second).Abs(); n > 100 && left > 20 {
			t.Fatalf("tick %d: error %v", n, left)
		}
		k.advance(int64(disciplineOptions.Interval))
	}
}

// readOnce is what is not known of a clock that was read once, exactly.
const readOnce = 4 * time.Nanosecond

func TestDisciplinePublishesTheBound(t *testing.T) {
	us := time.Microsecond
	for _, c := range []struct {
		rule string
		in   func(*hand) TickInput
		want Command // without the frequency
	}{
		{"bound and error", func(h *hand) TickInput {
			return TickInput{Target: target(h, -30*us, 0), Bound: 100 * us, Synchronised: true, Leap: sources.LeapInsert, TAIOffset: sources.Some(37)}
		}, Command{Synchronised: true, Leap: sources.LeapInsert, TAIOffset: sources.Some(37), MaxError: 130*us + readOnce, EstError: 30*us + 10}},
		{"the error after the step", func(h *hand) TickInput {
			return TickInput{Target: target(h, 1030*us, 0), Step: sources.Some(1000 * us), Bound: 100 * us, Synchronised: true}
		}, Command{Synchronised: true, Step: sources.Some(1000 * us), MaxError: 130*us + readOnce, EstError: 30*us + 10}},
		{"no target, no bound: never synchronised", func(*hand) TickInput {
			return TickInput{Synchronised: true, Bound: 100 * us}
		}, Command{}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			h := newHand()
			got := mustTick(t, NewDiscipline(NewVirtual(h.now, 0, 0), disciplineOptions), c.in(h)).Command
			got.FreqPPB = sources.None[float64]()
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("command differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDisciplineProjectsTheTarget(t *testing.T) {
	h := newHand()
	d := NewDiscipline(NewVirtual(h.now, 0, 0), disciplineOptions)
	in := TickInput{Target: target(h, 0, 10_000)}
	h.advance(time.Second)
	if got := mustTick(t, d, in).Servo.Error.Or(0); got != 10*time.Microsecond {
		t.Errorf("error %v to a target of 10 ppm one second ago, want 10us", got)
	}
}

func TestDisciplineWithoutTarget(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 0)
	d := NewDiscipline(v, disciplineOptions)
	mustTick(t, d, TickInput{Target: target(h, 0, 1000), Bound: time.Millisecond, Synchronised: true})
	h.advance(10 * time.Second)
	r := mustTick(t, d, TickInput{})
	h.advance(10 * time.Second)
	after, err := d.Read()
	if err != nil {
		t.Fatal(err)
	}
	if r.Command.Synchronised || after.Synchronised || after.MaxError != 11*time.Millisecond+time.Microsecond {
		t.Errorf("synchronised %v, maxerror %v; want false and 1 ms + 500 ppm of 20 s, rounded up", after.Synchronised, after.MaxError)
	}
}

func TestDisciplineReleaseKeepsTheRateAndDropsTheSlew(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 0)
	d := NewDiscipline(v, disciplineOptions)
	for range 8 {
		mustTick(t, d, TickInput{Target: target(h, 15*time.Millisecond, 7_000), Bound: time.Millisecond, Synchronised: true})
		h.advance(disciplineOptions.Interval)
	}
	before, _ := v.Read()
	if err := d.Release(); err != nil {
		t.Fatal(err)
	}
	after, _ := v.Read()
	if before.FreqPPB < 400_000 || math.Abs(after.FreqPPB-7_000) > 1 {
		t.Errorf("frequency %v ppb while slewing, %v ppb released; want 407000 and 7000", before.FreqPPB, after.FreqPPB)
	}
	if !after.Synchronised || after.MaxError != before.MaxError {
		t.Errorf("released with synchronised %v, maxerror %v; was true, %v", after.Synchronised, after.MaxError, before.MaxError)
	}
}

func TestDisciplineInObserve(t *testing.T) {
	k := newFakeKernel()
	o := &Observer{host: k.host(), adj: k.call}
	d := NewDiscipline(o, disciplineOptions)
	at := o.host.FromMonotonicRaw(k.raw)
	in := TickInput{Target: sources.Some(sources.Estimate{At: at, Offset: time.Second}), Step: sources.Some(time.Second)}
	for range 3 {
		r := mustTick(t, d, in)
		if r.Applied {
			t.Error("says that it applied a command")
		}
		if got := r.Servo.Error.Or(0); (got - time.Second).Abs() > 10 {
			t.Errorf("error %v, want 1s: nothing was stepped", got)
		}
		k.advance(int64(disciplineOptions.Interval))
	}
	if diff := cmp.Diff([]uint32{0, 0, 0}, k.calls); diff != "" {
		t.Errorf("modes differ (-want +got):\n%s", diff)
	}
}

// brokenKernel fails to read or refuses everything.
type brokenKernel struct{ read, apply error }

func (b brokenKernel) Read() (Reading, error) { return Reading{}, b.read }
func (b brokenKernel) Apply(Command) error    { return b.apply }

func TestDisciplineErrors(t *testing.T) {
	cause := errors.New("cause")
	if _, err := NewDiscipline(brokenKernel{read: cause}, disciplineOptions).Tick(TickInput{}); !errors.Is(err, cause) {
		t.Errorf("read: %v", err)
	}
	if err := NewDiscipline(brokenKernel{read: cause}, disciplineOptions).Release(); !errors.Is(err, cause) {
		t.Errorf("release, read: %v", err)
	}
	if err := NewDiscipline(brokenKernel{apply: cause}, disciplineOptions).Release(); !errors.Is(err, cause) {
		t.Errorf("release, apply: %v", err)
	}
	d := NewDiscipline(brokenKernel{apply: &RefusedError{Part: "step", Err: cause}}, disciplineOptions)
	in := TickInput{Target: sources.Some(sources.Estimate{Offset: time.Second}), Step: sources.Some(time.Second)}
	for range 2 {
		r, err := d.Tick(in)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Part != "step" || r.Applied {
			t.Errorf("refused: applied %v, error %v", r.Applied, err)
		}
		if got := r.Servo.Error.Or(0); got != time.Second {
			t.Errorf("error %v, want 1s: a refused step is no step", got)
		}
	}
}
