package clock

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/clock/timescale"
)

const (
	// bracketTries is how many brackets one observation tries; the narrowest counts. An
	// interruption of one bracket by the scheduler is then harmless.
	bracketTries = 5
	// trackCapacity is how many observations are kept: 17 minutes at four per second.
	trackCapacity = 4096
	// trackReach is how far beyond its observations the record is extrapolated.
	trackReach = 2 * time.Second
	// trackFresh is the age of the newest observation above which Local observes again.
	trackFresh = 5 * time.Millisecond
)

// Host owns the local timescale L of this machine and the record of CLOCK_REALTIME against it. It
// reads clocks and adjusts none. It is safe for concurrent use.
type Host struct {
	raw, realtime func() int64
	siblings      *siblingClocks // nil: none
	anchor        int64          // L - CLOCK_MONOTONIC_RAW, constant

	mu    sync.Mutex
	track *timescale.Track
}

// NewHost anchors L so that it equals CLOCK_REALTIME now. The error is the kernel's refusal to
// read one of the clocks.
func NewHost() (*Host, error) {
	if err := readable(); err != nil {
		return nil, err
	}
	h := newHost(gettime(unix.CLOCK_MONOTONIC_RAW), gettime(unix.CLOCK_REALTIME))
	h.siblings = hostSiblings()
	return h, nil
}

// ContinueHost is NewHost with the anchor of an earlier run since the same boot: its instants are those of
// this L too.
func ContinueHost(anchor time.Duration) (*Host, error) {
	h, err := NewHost()
	if err != nil {
		return nil, err
	}
	h.anchor, h.track = int64(anchor), timescale.NewTrack(trackCapacity, trackReach)
	h.Observe()
	return h, nil
}

// Anchor is L - CLOCK_MONOTONIC_RAW.
func (h *Host) Anchor() time.Duration { return time.Duration(h.anchor) }

// readable reports the kernel's refusal to read one of the clocks.
func readable() error {
	for _, c := range []struct {
		id   int32
		name string
	}{
		{unix.CLOCK_MONOTONIC_RAW, "CLOCK_MONOTONIC_RAW"}, {unix.CLOCK_REALTIME, "CLOCK_REALTIME"},
		{unix.CLOCK_MONOTONIC, "CLOCK_MONOTONIC"}, {unix.CLOCK_BOOTTIME, "CLOCK_BOOTTIME"},
	} {
		var ts unix.Timespec
		if err := unix.ClockGettime(c.id, &ts); err != nil {
			return fmt.Errorf("read %s: %w", c.name, err)
		}
	}
	return nil
}

// newHost is NewHost over any two clocks.
func newHost(raw, realtime func() int64) *Host {
	h := &Host{raw: raw, realtime: realtime, track: timescale.NewTrack(trackCapacity, trackReach)}
	mid, real, _ := bracket(h.raw, h.realtime, bracketTries)
	h.anchor = real - mid
	h.Observe()
	return h
}

// gettime returns a reader of one clock, in nanoseconds. The kernel refuses to read a clock only
// for a clock that it does not have, which NewHost has ruled out.
func gettime(id int32) func() int64 {
	return func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(id, &ts); err != nil {
			panic(fmt.Sprintf("clock: clock_gettime(%d): %v", id, err))
		}
		return ts.Nano()
	}
}

// Now returns the present instant on L.
func (h *Host) Now() timescale.Instant { return h.FromMonotonicRaw(h.raw()) }

// FromMonotonicRaw returns the instant on L at which CLOCK_MONOTONIC_RAW showed ns.
func (h *Host) FromMonotonicRaw(ns int64) timescale.Instant {
	return timescale.Instant(ns + h.anchor)
}

// Observe reads CLOCK_REALTIME against L and records it. The Offset is CLOCK_REALTIME - L.
func (h *Host) Observe() timescale.Observation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.observe()
}

// Local returns the instant on L at which CLOCK_REALTIME showed realtimeNS, in nanoseconds since
// the Unix epoch. It observes the clock first where the record is not fresh, so a reading just
// taken can be mapped. The error is timescale.ErrAmbiguous or timescale.ErrOutOfReach.
func (h *Host) Local(realtimeNS int64) (timescale.Instant, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if newest, ok := h.track.Newest(); !ok || h.Now().Sub(newest.At) > trackFresh {
		h.observe()
	}
	return h.track.Local(realtimeNS)
}

// SystemAt returns CLOCK_REALTIME - L at an instant on L, false where the record cannot tell.
func (h *Host) SystemAt(i timescale.Instant) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.track.OffsetAt(i)
}

func (h *Host) observe() timescale.Observation {
	mid, real, window := bracket(h.raw, h.realtime, bracketTries)
	at := h.FromMonotonicRaw(mid)
	o := timescale.Observation{At: at, Offset: time.Duration(real - int64(at)), Window: window}
	h.track.Observe(o)
	return o
}

// bracket reads reference, clock, reference, clock, ... reference, the clock as often as tries says, and
// returns the reading of the clock with the narrowest pair of reference readings about it: their middle, the
// reading, and half their distance.
func bracket(reference, clock func() int64, tries int) (mid, value int64, window time.Duration) {
	before := reference()
	for n := range tries {
		v := clock()
		after := reference()
		width := after - before
		if half := time.Duration((width + 1) / 2); n == 0 || half < window {
			mid, value, window = before+width/2, v, half
		}
		before = after
	}
	return mid, value, window
}
