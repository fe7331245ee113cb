package clock

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/clock/servo"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Resume takes up the rate of UTC against L, in parts per billion, that an earlier run left: the clock
// is held at it until there is a target. It is called before the first Tick.
func (d *Discipline) Resume(ratePPB float64) { d.servo.Resume(ratePPB) }

// Memory is what the discipline knows of its clock, for a successor on the same L; false before the first
// Tick.
func (d *Discipline) Memory() (servo.Memory, bool) { return d.servo.Memory() }

// Recall takes up the memory of an earlier run's discipline. It is called before the first Tick.
func (d *Discipline) Recall(m servo.Memory) { d.servo.Recall(m) }

// VirtualState is a virtual clock at one instant: what has to outlive its process for the clock to go on as
// the kernel's does.
type VirtualState struct {
	At           timescale.Instant `json:"at"`
	Offset       time.Duration     `json:"offset_ns"`
	Frac         float64           `json:"frac_ns"`
	Freq         int64             `json:"freq"`
	TickMicros   int64             `json:"tick_us"`
	TAIOffset    int               `json:"tai_offset_s"`
	Synchronised bool              `json:"synchronised"`
	MaxError     time.Duration     `json:"max_error_ns"`
	EstError     time.Duration     `json:"est_error_ns"`
}

// State returns the clock as it is now.
func (v *Virtual) State() VirtualState {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.now()
	base, frac := v.pieces[len(v.pieces)-1].offset(at)
	maxError, synchronised := v.errorAt(at)
	return VirtualState{
		At: at, Offset: base, Frac: frac, Freq: v.freq, TickMicros: v.tick, TAIOffset: v.tai,
		Synchronised: synchronised, MaxError: maxError, EstError: v.estError,
	}
}

// ContinueVirtual returns the clock of an earlier run: it has gone on at its rate since. The error says
// what in the state no clock can have.
func ContinueVirtual(now func() timescale.Instant, errorPPB float64, s VirtualState) (*Virtual, error) {
	ppb := frequency(s.Freq, s.TickMicros)
	if math.Abs(ppb) > MaxFrequencyPPB || !(s.Frac >= 0 && s.Frac < 1) || s.MaxError < 0 || s.EstError < 0 {
		return nil, fmt.Errorf("no clock has the frequency %g ppb, %g ns beyond its offset, or the errors %v and %v", ppb, s.Frac, s.MaxError, s.EstError)
	}
	return &Virtual{
		now: now, errorPPB: errorPPB,
		pieces: []piece{{from: s.At, base: s.Offset, frac: s.Frac, ratePPB: errorPPB + ppb}},
		freq:   s.Freq, tick: s.TickMicros, tai: s.TAIOffset,
		synchronised: s.Synchronised, errorSet: s.At, maxError: s.MaxError, estError: s.EstError,
		written: sources.None[ForeignWrite](),
	}, nil
}
