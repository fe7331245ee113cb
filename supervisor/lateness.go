package supervisor

import (
	"math/bits"
	"time"
)

// lateness is a histogram of durations in four classes an octave, from a microsecond on: quantiles of a loop that
// runs for months, at no cost.
type lateness struct {
	counts [4 * 40]uint64
	total  uint64
}

func (h *lateness) add(d time.Duration) {
	h.counts[min(classOf(d), len(h.counts)-1)]++
	h.total++
}

// classOf is the octave of d in us, and which quarter of it.
func classOf(d time.Duration) int {
	us := uint64(max(0, d) / time.Microsecond)
	if us < 4 {
		return int(us)
	}
	octave := bits.Len64(us) - 1 // at least 2
	return 4*(octave-1) + int(us>>(octave-2)&3)
}

// ceiling is the smallest duration that is above class i.
func ceiling(i int) time.Duration {
	i++
	if i < 4 {
		return time.Duration(i) * time.Microsecond
	}
	return time.Duration(4+i%4) << (i/4 - 1) * time.Microsecond
}

// quantile is what the given share of all durations did not exceed, 0 where there is none.
func (h *lateness) quantile(share float64) time.Duration {
	seen, want := uint64(0), share*float64(h.total)
	for i, n := range h.counts {
		if seen += n; n > 0 && float64(seen) >= want {
			return ceiling(i)
		}
	}
	return 0
}
