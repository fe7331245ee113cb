package clock

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
)

// twoClocks are the clocks of a simulated machine: two, and those that follow from them. Each reading
// takes readTime.
type twoClocks struct {
	raw      int64
	offset   int64   // realtime - raw
	ppm      float64 // rate of offset
	adjtime  float64 // what a stranger adds to it
	frac     float64 // ns, what offset cannot hold
	stepped  int64   // realtime - monotonic
	slept    int64   // boottime - monotonic
	readTime int64
	slow     int // the reading that takes a hundred times as long, counted down
	// pause returns how long the machine is interrupted at a reading. nil: never.
	pause func() int64
}

func (c *twoClocks) advance(ns int64) {
	c.raw += ns
	c.frac += (c.ppm + c.adjtime) * 1e-6 * float64(ns)
	whole := math.Floor(c.frac)
	c.offset, c.frac = c.offset+int64(whole), c.frac-whole
}

// step sets the clock.
func (c *twoClocks) step(ns int64) { c.offset += ns; c.stepped += ns }

// suspend is what the other clocks show of the machine's sleep.
func (c *twoClocks) suspend(ns int64) { c.step(ns); c.slept += ns }

func (c *twoClocks) readMonotonic() int64 { c.spend(); return c.raw + c.offset - c.stepped }
func (c *twoClocks) readBoottime() int64  { c.spend(); return c.raw + c.offset - c.stepped + c.slept }

func (c *twoClocks) spend() {
	if c.pause != nil {
		c.advance(c.pause())
	}
	d := c.readTime
	if c.slow--; c.slow == 0 {
		d *= 100
	}
	c.advance(d)
}

func (c *twoClocks) readRaw() int64      { c.spend(); return c.raw }
func (c *twoClocks) readRealtime() int64 { c.spend(); return c.raw + c.offset }
func (c *twoClocks) host() *Host         { return newHost(c.readRaw, c.readRealtime) }

const bootUTC = 1_800_000_000 * int64(time.Second)

func newTwoClocks() *twoClocks {
	return &twoClocks{raw: 5e9, offset: bootUTC, stepped: bootUTC, readTime: 100}
}

func TestHostAnchorsLNearUTC(t *testing.T) {
	c := newTwoClocks()
	h := c.host()
	if got := h.FromMonotonicRaw(c.raw); got != timescale.Instant(c.raw+c.offset) {
		t.Errorf("L = %d, want UTC %d", got, c.raw+c.offset)
	}
	c.offset += 1e9
	if got := h.FromMonotonicRaw(c.raw); got != timescale.Instant(c.raw+c.offset-1e9) {
		t.Error("a step of the system clock moved L")
	}
}

func TestHostObserveTakesTheNarrowestBracket(t *testing.T) {
	for slow := 1; slow <= 12; slow++ {
		c := newTwoClocks()
		h := c.host()
		c.advance(1e9)
		c.offset += 20e6
		c.slow = slow
		o := h.Observe()
		if o.Offset != 20*time.Millisecond || o.Window != 100 {
			t.Errorf("reading %d interrupted: offset %v window %v, want 20ms and 100ns", slow, o.Offset, o.Window)
		}
	}
}

func TestHostLocal(t *testing.T) {
	c := newTwoClocks()
	h := c.host()
	c.ppm = 40
	for range 8 {
		c.advance(250e6)
		h.Observe()
	}
	c.advance(30e6)
	reading, want := c.raw+c.offset, h.FromMonotonicRaw(c.raw)
	c.advance(20e6)
	got, err := h.Local(reading)
	if err != nil || got.Sub(want).Abs() > 2 {
		t.Errorf("Local = %v off, %v", got.Sub(want), err)
	}
	if offset, ok := h.SystemAt(want); !ok || (offset-time.Duration(reading-int64(want))).Abs() > 2 {
		t.Errorf("SystemAt = %v, %v, want %v", offset, ok, time.Duration(reading-int64(want)))
	}
	if _, err := h.Local(reading - int64(time.Hour)); !errors.Is(err, timescale.ErrOutOfReach) {
		t.Errorf("an hour ago: %v", err)
	}
}

func TestHostIsSafeForConcurrentUse(t *testing.T) {
	h, err := NewHost()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				o := h.Observe()
				if _, err := h.Local(int64(o.At) + int64(o.Offset)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestHostOnThisMachine reads the real clocks, and writes none.
func TestHostOnThisMachine(t *testing.T) {
	h, err := NewHost()
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Until(h.Now().Near()).Abs(); off > time.Second {
		t.Errorf("L is %v from UTC", off)
	}
	before := h.Now()
	o := h.Observe()
	if o.At.Before(before) || o.At.After(h.Now()) {
		t.Error("observed at an instant outside the call")
	}
	got, err := h.Local(time.Now().UnixNano())
	if err != nil || h.Now().Sub(got).Abs() > 100*time.Millisecond {
		t.Errorf("Local(now) = %v ago, %v", h.Now().Sub(got), err)
	}
}

func BenchmarkHostNow(b *testing.B) {
	h, err := NewHost()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		h.Now()
	}
}

func BenchmarkHostObserve(b *testing.B) {
	h, err := NewHost()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		h.Observe()
	}
}
