package servo

import "clockarbiter/sources"

// knownBiasPPB is the standard deviation of the oscillator's constant below which a frequency may be
// commanded from it alone: a few readings of the clock.
const knownBiasPPB = 5_000

// Resume takes up the rate of the last target of an earlier run, so that the clock is held at it until
// there is a target again. A predecessor that was killed may have left a slew in force.
func (s *Servo) Resume(ratePPB float64) {
	s.rate, s.resumed = sources.Some(ratePPB), true
}

// unsure reports whether the rate is an earlier run's and the clock has not been observed for long
// enough to know which frequency gives it.
func (s *Servo) unsure() bool { return s.resumed && s.plant.bb > knownBiasPPB*knownBiasPPB }
