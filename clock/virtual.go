package clock

import (
	"math"
	"sync"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// virtualHistory is how many pieces of its past a Virtual keeps: 17 minutes at four per second.
const virtualHistory = 4096

// Virtual is the driver "virtual": a simulated clock on top of L, with an oscillator that runs off
// by a constant rate. It takes the same commands as the kernel, with the same quantisation, limits
// and growth of maxerror, the same leap seconds, and is harmless anywhere. One goroutine
// owns it as a Kernel; At and what Stranger returns are safe for concurrent use.
type Virtual struct {
	now      func() timescale.Instant
	errorPPB float64

	mu     sync.Mutex
	pieces []piece // never empty; oldest first
	steps  time.Duration
	// strange is the rate of a slew that a stranger left running; written is what its writes to the
	// settings came to since the last Read or Apply.
	strange float64
	written sources.Optional[ForeignWrite]

	leap               virtualLeap
	freq, tick         int64
	tai                int
	synchronised       bool
	errorSet           timescale.Instant // when maxError was written
	maxError, estError time.Duration
}

// piece is the clock - L from an instant on: base + frac + rate * elapsed.
type piece struct {
	from    timescale.Instant
	base    time.Duration
	frac    float64 // ns, what base cannot hold
	ratePPB float64
}

// offset returns the clock - L at i, in whole and fractional nanoseconds.
func (p piece) offset(i timescale.Instant) (time.Duration, float64) {
	ns := p.frac + p.ratePPB*1e-9*float64(i.Sub(p.from))
	whole := math.Floor(ns)
	return p.base + time.Duration(whole), ns - whole
}

// NewVirtual returns a clock that is initial ahead of L now, with an oscillator that runs
// errorPPB parts per billion fast against L. Like the kernel's clock after boot it is
// unsynchronised.
func NewVirtual(now func() timescale.Instant, initial time.Duration, errorPPB float64) *Virtual {
	at := now()
	return &Virtual{
		now:      now,
		errorPPB: errorPPB,
		pieces:   []piece{{from: at, base: initial, ratePPB: errorPPB}},
		tick:     nominalTick,
		errorSet: at,
		maxError: phaseLimit,
		estError: phaseLimit,
	}
}

// At returns the clock - L at an instant. Before the oldest change that is kept, and before the
// clock was made, the oldest known rate is continued backwards.
func (v *Virtual) At(i timescale.Instant) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.overflow(v.now())
	for k := len(v.pieces) - 1; k > 0; k-- {
		if !i.Before(v.pieces[k].from) {
			return v.pieces[k].rounded(i)
		}
	}
	return v.pieces[0].rounded(i)
}

func (p piece) rounded(i timescale.Instant) time.Duration {
	whole, frac := p.offset(i)
	return whole + time.Duration(math.Round(frac))
}

// Now returns the present instant on L.
func (v *Virtual) Now() timescale.Instant { return v.now() }

// OscillatorPPB is how fast the simulated oscillator runs against L.
func (v *Virtual) OscillatorPPB() float64 { return v.errorPPB }

// Read implements Kernel.
func (v *Virtual) Read() (Reading, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.now()
	v.overflow(at)
	maxError, synchronised := v.errorAt(at)
	offset := v.pieces[len(v.pieces)-1].rounded(at)
	written := v.written
	v.written = sources.None[ForeignWrite]()
	return Reading{
		At:           at,
		Offset:       offset,
		Siblings:     sources.Some(Siblings{At: at, Monotonic: Difference{Value: offset - v.steps}, Steps: Difference{Value: v.steps}}),
		Foreign:      written,
		FreqPPB:      frequency(v.freq, v.tick),
		TickMicros:   v.tick,
		TAIOffset:    v.tai,
		Leap:         v.leap.flag,
		Synchronised: synchronised,
		MaxError:     maxError,
		EstError:     v.estError,
	}, nil
}

// errorAt returns what maxerror has grown to, and whether the clock still counts as synchronised.
func (v *Virtual) errorAt(at timescale.Instant) (time.Duration, bool) {
	seconds := at.Sub(v.errorSet) / time.Second // the kernel adds once per second
	e := min(v.maxError+seconds*maxErrorPPM*time.Microsecond, phaseLimit)
	return e, v.synchronised && e < phaseLimit
}

// Apply implements Kernel.
func (v *Virtual) Apply(c Command) error {
	t, err := timexOf(c)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.now()
	v.overflow(at)
	if c.FreqPPB.Present() {
		v.freq, v.tick = t.Freq, t.Tick
	}
	step := c.Step.Or(0)
	if step != 0 || c.FreqPPB.Present() {
		v.extend(at, step)
	}
	v.written = sources.None[ForeignWrite]()
	v.tai = c.TAIOffset.Or(v.tai)
	v.leap.write(c.Leap, at.Add(v.pieces[len(v.pieces)-1].rounded(at)), step != 0)
	v.account(at, c, step != 0)
	return nil
}

// account sets the error fields: a step voids them, as in the kernel, unless the command is for a
// synchronised clock and brings new ones.
func (v *Virtual) account(at timescale.Instant, c Command, stepped bool) {
	switch {
	case c.Synchronised:
		v.errorSet = at
		v.maxError = time.Duration(microsUp(c.MaxError)) * time.Microsecond
		v.estError = time.Duration(microsUp(c.EstError)) * time.Microsecond
	case stepped:
		v.errorSet, v.maxError, v.estError = at, phaseLimit, phaseLimit
	}
	v.synchronised = c.Synchronised
}

// extend starts a new piece with the frequency in force, step ahead of where the clock is.
func (v *Virtual) extend(at timescale.Instant, step time.Duration) {
	v.steps += step
	base, frac := v.pieces[len(v.pieces)-1].offset(at)
	if len(v.pieces) == virtualHistory {
		v.pieces = append(v.pieces[:0], v.pieces[virtualHistory/2:]...)
	}
	v.pieces = append(v.pieces, piece{
		from: at, base: base + step, frac: frac, ratePPB: v.errorPPB + v.strange + frequency(v.freq, v.tick),
	})
}
