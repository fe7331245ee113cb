package clock

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// hand is a timescale that a test moves.
type hand struct{ at timescale.Instant }

func (h *hand) now() timescale.Instant  { return h.at }
func (h *hand) advance(d time.Duration) { h.at = h.at.Add(d) }

func newHand() *hand { return &hand{at: timescale.Instant(bootUTC)} }

func TestVirtualMoves(t *testing.T) {
	h := newHand()
	start := h.at
	v := NewVirtual(h.now, 15*time.Millisecond, 40_000)
	apply := func(c Command) {
		t.Helper()
		if err := v.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	h.advance(time.Second)
	apply(Command{FreqPPB: sources.Some(-140_000.0)})
	h.advance(time.Second)
	apply(Command{Step: sources.Some(-10 * time.Millisecond)})
	h.advance(time.Second)
	for _, c := range []struct {
		rule string
		at   timescale.Instant
		want time.Duration
	}{
		{"at start", start, 15 * time.Millisecond},
		{"the oscillator alone", start.Add(time.Second / 2), 15020 * time.Microsecond},
		{"oscillator and frequency", start.Add(1500 * time.Millisecond), 14990 * time.Microsecond},
		{"just before a step", start.Add(2*time.Second - 1), 14940 * time.Microsecond},
		{"a step", start.Add(2 * time.Second), 4940 * time.Microsecond},
		{"the frequency survives the step", h.at, 4840 * time.Microsecond},
	} {
		if got := v.At(c.at); got != c.want {
			t.Errorf("%s: %v, want %v", c.rule, got, c.want)
		}
	}
}

func TestVirtualQuantisesLikeTheKernel(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 0)
	if err := v.Apply(Command{FreqPPB: sources.Some(0.007)}); err != nil {
		t.Fatal(err)
	}
	h.advance(1000 * time.Hour)
	if got := v.At(h.at); got != 0 {
		t.Errorf("less than half a quantum moved the clock by %v", got)
	}
	if err := v.Apply(Command{FreqPPB: sources.Some(1e6 + 1)}); err == nil {
		t.Error("accepts more than the kernel would")
	}
}

func TestVirtualReportsLikeTheKernel(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 0)
	read := func() Reading {
		t.Helper()
		r, err := v.Read()
		if err != nil {
			t.Fatal(err)
		}
		r.Siblings = sources.None[Siblings]()
		return r
	}
	boot := Reading{At: h.at, TickMicros: 10000, MaxError: phaseLimit, EstError: phaseLimit}
	if diff := cmp.Diff(boot, read()); diff != "" {
		t.Errorf("at boot (-want +got):\n%s", diff)
	}
	if err := v.Apply(Command{Synchronised: true, TAIOffset: sources.Some(37), MaxError: 1500, EstError: 10}); err != nil {
		t.Fatal(err)
	}
	h.advance(2 * time.Second)
	grown := Reading{At: h.at, TickMicros: 10000, TAIOffset: 37, Synchronised: true, MaxError: 1002 * time.Microsecond, EstError: time.Microsecond}
	if diff := cmp.Diff(grown, read()); diff != "" {
		t.Errorf("after 2 s (-want +got):\n%s", diff)
	}
	h.advance(31_998 * time.Second)
	if r := read(); r.Synchronised || r.MaxError != phaseLimit {
		t.Errorf("after 32000 s: synchronised %v, maxerror %v; want false at 16 s", r.Synchronised, r.MaxError)
	}
}

func TestVirtualForgetsOnlyItsOldestPast(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 1000)
	for range 3 * virtualHistory {
		h.advance(time.Second)
		if err := v.Apply(Command{FreqPPB: sources.Some(0.0)}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := v.At(h.at), 3*virtualHistory*time.Microsecond; (got - want).Abs() > 1 {
		t.Errorf("drifted %v, want %v", got, want)
	}
	if len(v.pieces) > virtualHistory {
		t.Errorf("keeps %d pieces", len(v.pieces))
	}
}
