package clock

import (
	"fmt"
	"strings"
)

// Change is one field of the kernel's clock state: what the writer's last write returned, and what
// was found there afterwards, in the kernel's own units.
type Change struct{ Wrote, Found int64 }

func (c Change) differs() bool { return c.Wrote != c.Found }

// ForeignWrite is the observation that somebody else wrote to the kernel's clock. Fields that
// nobody touched have Wrote equal to Found.
type ForeignWrite struct {
	// Freq is timex.freq, in 2^-16 ppm. Positive: run faster.
	Freq Change
	// Tick is timex.tick, in microseconds.
	Tick Change
	// TAI is TAI - UTC, in seconds.
	TAI Change
	// Status has the STA_ bits that can be written (clock_adjtime(2)).
	Status Change
	// Constant is the PLL's time constant.
	Constant Change
	// Offset is the correction that the kernel's PLL still holds, in nanoseconds.
	Offset Change
}

// fields pairs each field with its name and a factor that makes it readable.
func (w ForeignWrite) fields() []struct {
	name string
	Change
} {
	return []struct {
		name string
		Change
	}{
		{"freq", w.Freq}, {"tick", w.Tick}, {"tai", w.TAI},
		{"status", w.Status}, {"constant", w.Constant}, {"offset", w.Offset},
	}
}

func (w ForeignWrite) differs() bool {
	for _, f := range w.fields() {
		if f.differs() {
			return true
		}
	}
	return false
}

// String names what differs: "freq 65536 -> 0 (2^-16 ppm), status 0x0 -> 0x1".
func (w ForeignWrite) String() string {
	var parts []string
	for _, f := range w.fields() {
		switch {
		case !f.differs():
		case f.name == "status":
			parts = append(parts, fmt.Sprintf("status %#x -> %#x", f.Wrote, f.Found))
		case f.name == "freq":
			parts = append(parts, fmt.Sprintf("freq %d -> %d (2^-16 ppm)", f.Wrote, f.Found))
		default:
			parts = append(parts, fmt.Sprintf("%s %d -> %d", f.name, f.Wrote, f.Found))
		}
	}
	return strings.Join(parts, ", ")
}
