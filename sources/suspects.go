package sources

import (
	"math"
	"slices"
)

const (
	// agreeing is the number of outliers in a row that make a change believed when they agree
	// with each other: one or two are what a heavy tail or a pair of wild readings produce.
	agreeing = 3
	// disagreeing is the number that make it believed whatever they look like: the spread
	// itself has grown.
	disagreeing = 8
)

// suspects are the newest samples in a row that contradict the estimate.
type suspects struct {
	ring  [disagreeing]Sample
	count int
}

func (h *suspects) add(s Sample) {
	h.ring[h.count%disagreeing] = s
	h.count++
}

// newest returns a copy of the held samples, oldest first: who takes them forgets the held ones.
func (h *suspects) newest() []Sample { return slices.Clone(h.ring[:min(h.count, disagreeing)]) }

// convince reports whether the held samples show a real change rather than noise: the last ones
// lie on one line, whatever its slope, or there are simply too many. variance is that of a reading.
func (h *suspects) convince(variance float64) bool {
	if h.count < agreeing {
		return false
	}
	last := h.ring[min(h.count, disagreeing)-agreeing : min(h.count, disagreeing)]
	return h.count >= disagreeing || scatter(last) <= clipSD*math.Sqrt(variance)
}

// scatter estimates the spread of a few samples in ns from how far each is off the mean of its
// neighbours, which a steady frequency does not enter; 0 for fewer than three.
func scatter(samples []Sample) float64 {
	if len(samples) < 3 {
		return 0
	}
	off := make([]float64, 0, disagreeing)
	for i := 1; i+1 < len(samples); i++ {
		a, b, c := samples[i-1], samples[i], samples[i+1]
		share := secondsBetween(a.At, b.At) / secondsBetween(a.At, c.At)
		line := share * subtract(c.Offset, a.Offset)
		// The variance of this second difference is 1.5 times that of a sample for
		// equal spacing.
		off = append(off, math.Abs(subtract(b.Offset, a.Offset)-line)/math.Sqrt(1.5))
	}
	slices.Sort(off)
	return off[len(off)/2]
}
