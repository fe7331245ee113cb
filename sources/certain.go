package sources

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
)

// certain is what the first readings of a track say whatever their noise is, which the filters have yet to learn. A
// packet that waited is off by no more than half of its delay: each reading holds the offset in an interval, and
// each two of them the frequency, which is the same for so long. An estimate that a late packet has drawn aside gets a
// bound that says so.
type certain struct {
	readings []certainReading
	// The frequency of UTC against L lies between these, in ppb.
	least, most float64
	done        bool
}

// certainReading is a reading and the half-width of its interval in ns.
type certainReading struct {
	at     timescale.Instant
	offset time.Duration
	half   float64
}

// certainReadings are how many count. With more, the filters know the noise.
const certainReadings = 15

// newCertain has no reading yet, and what is known of the frequency.
func newCertain(known Rate) certain {
	return certain{least: known.FreqPPB - Confidence*known.SDPPB, most: known.FreqPPB + Confidence*known.SDPPB}
}

// add takes a reading, later than all before.
func (c *certain) add(r certainReading) {
	if c.done || len(c.readings) == certainReadings {
		c.readings, c.done = nil, true
		return
	}
	least, most := c.least, c.most
	for _, earlier := range c.readings {
		dt := secondsBetween(earlier.at, r.at)
		rate, half := subtract(r.offset, earlier.offset)/dt, (r.half+earlier.half)/dt
		least, most = math.Max(least, rate-half), math.Min(most, rate+half)
	}
	if !(least <= most) {
		c.readings, c.done = nil, true // one of them, or the oscillator, is not what was supposed
		return
	}
	c.least, c.most = least, most
	c.readings = append(c.readings, r)
}

// bound is the largest error of an estimate that the readings leave possible, 0 when they no longer count.
func (c *certain) bound(at timescale.Instant, offset time.Duration, freqPPB float64) time.Duration {
	if len(c.readings) == 0 {
		return 0
	}
	off := c.frequencyBound(freqPPB)
	bound := math.Inf(1)
	for _, r := range c.readings {
		dt := secondsBetween(r.at, at)
		beside := math.Abs(subtract(offset, r.offset) - freqPPB*dt)
		bound = math.Min(bound, beside+r.half+off*math.Abs(dt))
	}
	return duration(bound)
}

// frequencyBound is the same for the estimate's frequency, in ppb.
func (c *certain) frequencyBound(freqPPB float64) float64 {
	if len(c.readings) == 0 {
		return 0
	}
	return math.Max(c.most-freqPPB, freqPPB-c.least)
}
