package clock

import (
	"testing"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// lastSeconds is a virtual clock, right and 100 ppm fast, ten seconds before the end of a June.
func lastSeconds() (*hand, *Virtual, timescale.Instant) {
	midnight := timescale.Instant(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	h := &hand{at: midnight.Add(-10 * time.Second)}
	return h, NewVirtual(h.now, 0, 100_000), midnight
}

func TestVirtualLeapsLikeTheKernel(t *testing.T) {
	for _, tt := range []struct {
		leap sources.Leap
		by   time.Duration
		at   time.Duration // before midnight, by the clock
		tai  int
	}{
		{sources.LeapInsert, -time.Second, 0, 38},
		{sources.LeapDelete, time.Second, time.Second, 36},
		{sources.LeapNone, 0, 0, 37},
	} {
		t.Run(tt.leap.String(), func(t *testing.T) {
			h, v, midnight := lastSeconds()
			watch := NewWatch(100_000)
			var moves []Intrusion
			for range 80 {
				r, err := v.Read()
				if err != nil {
					t.Fatal(err)
				}
				moves = append(moves, watch.Observe(r)...)
				c := Command{Synchronised: true, Leap: tt.leap}
				if r.TAIOffset == 0 {
					c.TAIOffset = sources.Some(37)
				}
				w := Write{Before: h.at, After: h.at, Command: c}
				if err := v.Apply(c); err != nil {
					t.Fatal(err)
				}
				watch.Wrote(w)
				h.advance(250 * time.Millisecond)
			}
			r, _ := v.Read()
			drift := time.Duration(float64(20*time.Second) * 100e-6)
			if r.Offset != drift+tt.by || r.TAIOffset != tt.tai || r.Leap != tt.leap {
				t.Errorf("after it the clock is off by %v, want %v; TAI - UTC %d, flag %v", r.Offset, drift+tt.by, r.TAIOffset, r.Leap)
			}
			if tt.by == 0 {
				if len(moves) != 0 {
					t.Errorf("moves %v", moves)
				}
				return
			}
			if len(moves) != 1 || moves[0].What != LeapSecond || moves[0].Amount != tt.by {
				t.Errorf("moves %v, want one leap second", moves)
			}
			// By its own clock it leapt when it should, to the nanosecond: it is fast by 1 ms then.
			when := midnight.Add(-tt.at).Add(-time.Duration(float64(10*time.Second-tt.at) * 100e-6))
			before, after := v.At(when.Add(-time.Microsecond)), v.At(when.Add(time.Microsecond))
			if after-before != tt.by {
				t.Errorf("around %v the clock moves by %v", when.Near(), after-before)
			}
		})
	}
}

func TestALeapSecondIsPerformedOnceUntilItsFlagIsCleared(t *testing.T) {
	h, v, _ := lastSeconds()
	apply := func(l sources.Leap) {
		if err := v.Apply(Command{Synchronised: true, Leap: l}); err != nil {
			t.Fatal(err)
		}
	}
	apply(sources.LeapInsert)
	h.advance(48 * time.Hour)
	apply(sources.LeapInsert) // TIME_WAIT
	h.advance(48 * time.Hour)
	if off := v.At(h.at); off > 0 && off < -time.Second || v.tai != 1 {
		t.Errorf("off by %v, TAI %d: more than one leap second", off, v.tai)
	}
	apply(sources.LeapNone)
	apply(sources.LeapInsert)
	h.advance(48 * time.Hour)
	if v.At(h.at); v.tai != 2 {
		t.Errorf("TAI %d: armed anew it does not leap", v.tai)
	}
}

func TestAfterAStepTheLeapSecondIsArmedAnew(t *testing.T) {
	for name, step := range map[string]func(*Discipline, *Virtual, *hand) TickInput{
		"our own": func(_ *Discipline, _ *Virtual, h *hand) TickInput {
			return TickInput{Target: target(h, 0, 0), Synchronised: true, Leap: sources.LeapInsert, Step: sources.Some(time.Millisecond)}
		},
		"somebody else's": func(_ *Discipline, v *Virtual, h *hand) TickInput {
			v.Stranger().Step(time.Millisecond)
			return TickInput{Target: target(h, 0, 0), Synchronised: true, Leap: sources.LeapInsert}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, v, _ := lastSeconds()
			d := NewDiscipline(v, disciplineOptions)
			armed := func() TickInput {
				return TickInput{Target: target(h, 0, 0), Synchronised: true, Leap: sources.LeapInsert}
			}
			mustTick(t, d, armed())
			h.advance(time.Second)
			mustTick(t, d, armed())
			h.advance(time.Second)
			mustTick(t, d, step(d, v, h))
			for range 60 {
				h.advance(250 * time.Millisecond)
				mustTick(t, d, armed())
			}
			if v.tai != 1 {
				t.Error("the leap second was missed")
			}
		})
	}
}
