package supervisor

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreRightToAQuarter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var h lateness
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(rng.ExpFloat64() * float64(300*time.Microsecond))
		if rng.IntN(500) == 0 {
			d += time.Duration(rng.Int64N(int64(time.Second)))
		}
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, share := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		got, want := h.quantile(share), all[int(share*float64(len(all)-1))]
		if got < want || got > want*5/4+2*time.Microsecond {
			t.Errorf("quantile %g: %v, want %v to a quarter", share, got, want)
		}
	}
	var none lateness
	if q := none.quantile(0.5); q != 0 {
		t.Errorf("of nothing: %v", q)
	}
	h.add(-time.Second)
	h.add(1 << 62)
}

func TestStatusTellsThePeriodOfTheLoop(t *testing.T) {
	r := newRig(t)
	r.run(10 * time.Second)
	st, _ := r.snapshot()
	if l := st.Loop; l.PeriodNS != r.interval || l.Ticks == 0 || l.LatenessP50NS > l.LatenessP99NS || l.LatenessP99NS > l.LatenessP999NS {
		t.Errorf("%+v", l)
	}
}
