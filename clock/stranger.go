package clock

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/sources"
)

// Stranger does to a virtual clock what a program with CAP_SYS_TIME does to the kernel's. It exists so
// that detection and defence can be shown on a host whose own clock nobody may touch. It is safe for
// concurrent use.
type Stranger struct{ v *Virtual }

// Stranger returns a stranger to this clock.
func (v *Virtual) Stranger() Stranger { return Stranger{v} }

// Step sets the clock by d, as settimeofday does. Positive: forward. The kernel then counts the clock
// as unsynchronised.
func (s Stranger) Step(d time.Duration) {
	v := s.v
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.now()
	v.overflow(at)
	v.extend(at, d)
	if v.leap.pending != 0 {
		v.leap.due = never
	}
	v.errorSet, v.maxError, v.estError = at, phaseLimit, phaseLimit
	v.synchronised = false
}

// Slew makes the clock run ppb faster without a trace in the kernel's state, as adjtime(3) does, until
// the owner reclaims the clock or the stranger slews by 0. The error is that of a rate beyond the
// kernel's 500 ppm (MAX_TICKADJ).
func (s Stranger) Slew(ppb float64) error {
	if !(math.Abs(ppb) <= maxFreqPPB) {
		return fmt.Errorf("slew by %g ppm: at most %d ppm", ppb/1000, maxFreqPPB/1000)
	}
	v := s.v
	v.mu.Lock()
	defer v.mu.Unlock()
	v.overflow(v.now())
	v.strange = ppb
	v.extend(v.now(), 0)
	return nil
}

// SetFrequency writes the frequency, in ppb, as clock_adjtime with ADJ_FREQUENCY does. The error is that
// of a frequency that the kernel would not take.
func (s Stranger) SetFrequency(ppb float64) error {
	freq, tick, err := quantise(ppb)
	if err != nil {
		return err
	}
	v := s.v
	v.mu.Lock()
	defer v.mu.Unlock()
	v.overflow(v.now())
	w := v.written.Or(ForeignWrite{Freq: Change{Wrote: v.freq}, Tick: Change{Wrote: v.tick}})
	v.freq, v.tick = freq, tick
	w.Freq.Found, w.Tick.Found = freq, tick
	v.written = sources.None[ForeignWrite]()
	if w.differs() {
		v.written = sources.Some(w)
	}
	v.extend(v.now(), 0)
	return nil
}

// Reclaim ends the slew that a stranger left running.
func (v *Virtual) Reclaim() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.overflow(v.now())
	if v.strange != 0 {
		v.strange = 0
		v.extend(v.now(), 0)
	}
}
