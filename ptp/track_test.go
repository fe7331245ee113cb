package ptp

import (
	"errors"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
)

// steered is a PHC that ptp4l steers: readings and timestamps of it at instants of L, in seconds.
type steered struct {
	at     float64 // of the last change
	offset float64 // PHC - L at it, ns
	ppm    float64
}

func (p *steered) turn(at, ppm, step float64) {
	p.offset += p.ppm*1e3*(at-p.at) + step
	p.at, p.ppm = at, ppm
}

func (p *steered) read(at float64) PHCReading {
	l := timescale.Instant(epoch) + timescale.Instant(at*1e9)
	return PHCReading{Time: int64(l) + int64(p.offset+p.ppm*1e3*(at-p.at)), At: l, Window: 20}
}

// expectPlaced checks that a timestamp is placed within limit ns of where it was taken, and within its own window.
func expectPlaced(t *testing.T, what string, track *phcTrack, stamp PHCReading, limit time.Duration) {
	t.Helper()
	at, window, err := track.local(stamp.Time)
	if off := at.Sub(stamp.At); err != nil || off.Abs() > min(limit, window) || window < 20 || window > 20+limit {
		t.Errorf("%s: %v off, window %v, %v", what, off, window, err)
	}
}

func expectNotPlaced(t *testing.T, what string, track *phcTrack, stamp PHCReading) {
	t.Helper()
	if at, _, err := track.local(stamp.Time); !errors.Is(err, errNotPlaced) {
		t.Errorf("%s: placed %v off, %v", what, at.Sub(stamp.At), err)
	}
}

func TestATimestampIsPlacedWhateverPtp4lDoesToThePHC(t *testing.T) {
	var track phcTrack
	phc := steered{offset: 37e9, ppm: 40}
	observe := func(at float64, wantStep time.Duration) {
		t.Helper()
		if got := track.observe(phc.read(at)); (got - wantStep).Abs() > 1000 {
			t.Errorf("at %v s: stepped by %v, want %v", at, got, wantStep)
		}
	}
	observe(0, 0)
	expectNotPlaced(t, "before the rate is known", &track, phc.read(0))
	observe(0.25, 0)
	expectPlaced(t, "between two readings", &track, phc.read(0.1), 1)
	expectNotPlaced(t, "newer than every reading", &track, phc.read(0.3))
	expectNotPlaced(t, "older than every reading", &track, phc.read(-0.1))

	stamp := phc.read(0.5)
	phc.turn(0.502, -60, 0) // ptp4l's answer to the Sync
	observe(0.5021, 0)
	expectPlaced(t, "a Sync, the rate changed by 100 ppm after it", &track, stamp, 20)
	observe(0.6, 0)
	observe(0.75, 0)

	stamp = phc.read(0.9)
	phc.turn(0.91, 100, 0) // the answer came late
	observe(0.92, 0)
	expectPlaced(t, "a Sync, the rate changed by 160 ppm long after it", &track, stamp, 1500)

	phc.turn(0.93, -60, 0)
	observe(0.94, 0)
	stamp = phc.read(1)
	phc.turn(1.002, -60, 25_000)
	observe(1.0021, 25*time.Microsecond)
	expectNotPlaced(t, "a step after the Sync", &track, stamp)
	observe(1.25, 0)
	expectPlaced(t, "after the step", &track, phc.read(1.1), 1)

	phc.turn(2, -60, -37e9) // the driver resets the PHC
	observe(2.1, -37*time.Second)
	observe(2.25, 0)
	expectPlaced(t, "after a reset", &track, phc.read(2.2), 1)

	phc.turn(2.3, 700, 0) // slewed by a millisecond
	observe(2.5, 152*time.Microsecond)
	observe(2.75, 0)
	expectPlaced(t, "while it is slewed", &track, phc.read(2.6), 1)
}

func TestATrackForgets(t *testing.T) {
	var track phcTrack
	phc := steered{}
	for i := range 10 * trackMemory {
		track.observe(phc.read(float64(i)))
	}
	if len(track.readings) != trackMemory {
		t.Errorf("%d readings kept", len(track.readings))
	}
}
