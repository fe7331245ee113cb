package clock

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/clock/servo"
	"clockarbiter/sources"
)

func TestAContinuedHostHasTheSameInstants(t *testing.T) {
	a, err := NewHost()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ContinueHost(a.Anchor() - time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if b.Anchor() != a.Anchor()-time.Hour || a.FromMonotonicRaw(5)-b.FromMonotonicRaw(5) != 3600e9 {
		t.Errorf("anchors %v and %v", a.Anchor(), b.Anchor())
	}
	o := b.Observe()
	if off := (o.Offset - time.Hour).Abs(); off > time.Second {
		t.Errorf("CLOCK_REALTIME is %v from where it was", off)
	}
	if got, ok := b.SystemAt(o.At); !ok || (got-o.Offset).Abs() > 10*time.Microsecond {
		t.Errorf("SystemAt = %v, %v; want %v: nothing of another L is in the record", got, ok, o.Offset)
	}
}

func TestAContinuedVirtualClockHasGoneOn(t *testing.T) {
	h := newHand()
	whole := NewVirtual(h.now, 15*time.Millisecond, 40_000)
	c := Command{FreqPPB: sources.Some(-12_345.6), TAIOffset: sources.Some(37), Synchronised: true, MaxError: time.Millisecond, EstError: time.Microsecond}
	h.advance(1234567 * time.Microsecond)
	if err := whole.Apply(c); err != nil {
		t.Fatal(err)
	}
	h.advance(777 * time.Millisecond)
	state := whole.State()
	h.advance(3 * time.Second)
	cut, err := ContinueVirtual(h.now, 40_000, state)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := whole.Read()
	got, _ := cut.Read()
	want.Siblings, got.Siblings = sources.None[Siblings](), sources.None[Siblings]()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, spoil := range []func(*VirtualState){
		func(s *VirtualState) { s.Freq = 1 << 40 }, func(s *VirtualState) { s.TickMicros = 0 },
		func(s *VirtualState) { s.Frac = 2 }, func(s *VirtualState) { s.MaxError = -1 },
	} {
		bad := state
		spoil(&bad)
		if _, err := ContinueVirtual(h.now, 40_000, bad); err == nil {
			t.Errorf("a clock with the state %+v", bad)
		}
	}
}

// A successor knows at once which frequency keeps the rate, where one that knows nothing has to learn what
// the oscillator does.
func TestARecalledDisciplineSteersRightFromItsFirstTick(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 40_000)
	limits := DisciplineOptions{Interval: 250 * time.Millisecond, MaxSlewPPM: 400, MaxFrequencyPPM: 500}
	target := func() TickInput {
		return TickInput{Target: sources.Some(sources.Estimate{At: h.at, OffsetSD: 10}), Synchronised: true}
	}
	d := NewDiscipline(v, limits)
	if _, ok := d.Memory(); ok {
		t.Error("a discipline that has seen nothing remembers something")
	}
	for range 200 {
		if _, err := d.Tick(target()); err != nil {
			t.Fatal(err)
		}
		h.advance(limits.Interval)
	}
	memory, ok := d.Memory()
	if !ok || !memory.Sound() {
		t.Fatalf("memory %+v, %v", memory, ok)
	}
	if f, ok := memory.ReleasePPB(); !ok || f > -39_900 || f < -40_100 {
		t.Errorf("the frequency without a slew is %.1f ppb, %v", f, ok)
	}
	h.advance(time.Second)
	worst := map[bool]time.Duration{}
	for _, recalled := range []bool{true, false} {
		state, at := v.State(), h.at
		w, err := ContinueVirtual(h.now, 40_000, state)
		if err != nil {
			t.Fatal(err)
		}
		next := NewDiscipline(w, limits)
		if recalled {
			next.Recall(memory)
		}
		for range 20 {
			if _, err := next.Tick(target()); err != nil {
				t.Fatal(err)
			}
			h.advance(limits.Interval)
			worst[recalled] = max(worst[recalled], w.At(h.at).Abs())
		}
		h.at = at
	}
	if worst[true] > 100*time.Nanosecond || worst[false] < 10*worst[true] {
		t.Errorf("off by %v with the memory and %v without", worst[true], worst[false])
	}
	if (servo.Memory{PhaseVariance: -1}).Sound() {
		t.Error("a negative variance is sound")
	}
	if _, ok := (servo.Memory{}).ReleasePPB(); ok {
		t.Error("a rate without a target")
	}
}
