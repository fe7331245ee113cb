package arbiter

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// comparison is what is remembered of how one source differs from the reckoning, sample by sample.
type comparison struct {
	newest timescale.Instant // the sample that was compared last
	count  int
	// slow is the difference as it has always been, which is the source's bias; fast is what it
	// has been of late.
	slow, fast average
	// scale is by how much the samples scatter more, in variance, than their delays explain.
	scale float64
	delay shortest
	// longRecent and longUsual are the delays that go with fast and slow.
	longRecent, longUsual average
	// learnt is when the bias was last learnt against a clearly best source.
	learnt sources.Optional[timescale.Instant]
	// inherited is the bias that an earlier run learnt.
	inherited sources.Optional[Bias]
}

const (
	// recent and usual are the memories of the two averages. Four NTP servers at 16 s tell 10 us
	// apart in the former.
	recent, usual = 240 * time.Second, 4 * time.Hour
	// scaleMemory is the number of samples that the scale is averaged over, scaleClip what one may
	// say.
	scaleMemory, scaleClip = 64, 16.0
	// leastComparisons is the number of samples that it takes to say anything of a source.
	leastComparisons = 8
)

// average is a mean, weighted by 1/variance and forgetting exponentially.
type average struct {
	mean, weight float64
	at           timescale.Instant
}

func (m *average) add(at timescale.Instant, x, variance float64, memory time.Duration) {
	m.weight *= math.Exp(-age(at, m.at).Seconds() / memory.Seconds())
	m.at = at
	w := 1 / variance
	m.weight += w
	m.mean += w / m.weight * (x - m.mean)
}

// variance is that of the mean. Infinite when nothing is known.
func (m *average) variance() float64 { return 1 / m.weight }

// shortest is the smallest delay of the last one to two spans of samples: on a route that became
// longer the old one is forgotten.
type shortest struct {
	older, newer time.Duration
	count        int
}

const shortestSpan = 64

func (m *shortest) add(d time.Duration) {
	switch {
	case m.count == 0:
		m.older, m.newer = d, d
	case m.count%shortestSpan == 0:
		m.older, m.newer = m.newer, d
	default:
		m.newer = min(m.newer, d)
	}
	m.count++
}

func (m *shortest) least() time.Duration { return min(m.older, m.newer) }

// variance of one sample in ns^2: what its delay is above the path's shortest was spent in a queue, on
// the way there or back, and shifts the offset by up to a half of it.
func (c *comparison) variance(s *sources.Sample, jitter time.Duration) float64 {
	reading := float64(s.Dispersion)
	delay, network := s.Delay.Get()
	if !network {
		return max(float64(jitter)*float64(jitter)+reading*reading/3, 1)
	}
	queued, least := float64(delay-c.delay.least()), float64(jitter)/8
	return max((queued*queued/12+least*least+reading*reading/3)*c.scale, 1)
}

// learnScale compares an innovation with what was expected of it.
func (c *comparison) learnScale(innovation, expected float64) {
	ratio := min(innovation*innovation/expected, scaleClip)
	c.scale = max(0.25, min(1e6, c.scale*(1+(ratio-1)/scaleMemory)))
}

// shift is by how much the source has moved of late against where it has always been, with its standard
// deviation, both in ns.
func (c *comparison) shift() (by, sd float64) {
	return c.fast.mean - c.slow.mean, math.Sqrt(c.fast.variance() + c.slow.variance())
}

// speaks reports whether enough is known of the source to compare it.
func (c *comparison) speaks() bool { return c.count >= leastComparisons }

// forget starts again, as after the path has changed.
func (c *comparison) forget() { *c = comparison{newest: c.newest, scale: 1} }

// learnPath keeps the delays that go with the averages.
func (c *comparison) learnPath(s *sources.Sample) {
	if d, ok := s.Delay.Get(); ok {
		c.longRecent.add(s.At, float64(d), 1, recent)
		c.longUsual.add(s.At, float64(d), 1, usual)
	}
}

// longer is by how much the path has become longer of late, in ns.
func (c *comparison) longer() float64 { return c.longRecent.mean - c.longUsual.mean }
