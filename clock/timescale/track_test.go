package timescale

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	second = Instant(time.Second)
	epoch  = Instant(1_800_000_000) * second
)

// seen is one observation, in a table: seconds since epoch, offset, window.
type seen struct {
	at             float64
	offset, window time.Duration
}

func record(reach time.Duration, obs ...seen) *Track {
	t := NewTrack(64, reach)
	for _, o := range obs {
		t.Observe(Observation{At: instant(o.at), Offset: o.offset, Window: o.window})
	}
	return t
}

func instant(s float64) Instant { return epoch.Add(time.Duration(s * 1e9)) }

func TestOffsetAt(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	slewed := []seen{{0, 0, 0}, {1, 100 * us, 0}, {2, 150 * us, 0}}
	stepped := []seen{{0, 0, 0}, {1, 100 * us, 0}, {1.1, 20 * ms, 0}, {2.1, 20*ms - 50*us, 0}}
	for _, c := range []struct {
		rule string
		obs  []seen
		at   float64
		want time.Duration
		ok   bool
	}{
		{"nothing observed, nothing known", nil, 0, 0, false},
		{"one observation is extrapolated with slope 0", []seen{{0, 7, 0}}, 1, 7, true},
		{"at an observation", slewed, 1, 100 * us, true},
		{"between two observations", slewed, 0.25, 25 * us, true},
		{"after the newest, the last slope", slewed, 3, 200 * us, true},
		{"before the oldest, the first slope", slewed, -1, -100 * us, true},
		{"beyond reach ahead", slewed, 4.1, 0, false},
		{"beyond reach behind", slewed, -2.1, 0, false},
		{"before a step", stepped, 0.5, 50 * us, true},
		{"in the gap of a step", stepped, 1.05, 0, false},
		{"after a step", stepped, 1.6, 20*ms - 25*us, true},
		{"windows excuse a jump", []seen{{0, 0, 2 * ms}, {0.1, 3 * ms, 2 * ms}}, 0.05, 1500 * us, true},
		{"a slope as steep as the kernel allows is no step", []seen{{0, 0, 0}, {1, 999 * us, 0}}, 0.5, 499500, true},
		{"a steeper one is", []seen{{0, 0, 0}, {1, 1001 * us, 0}}, 0.5, 0, false},
		{"after a step, the slope before it until there is another", []seen{{0, 0, 0}, {1, 100 * us, 0}, {1.001, 20 * ms, 0}}, 2.001, 20*ms + 100*us, true},
		{"wide windows give no slope", []seen{{0, 0, ms}, {0.1, 50 * us, ms}}, 1.1, 50 * us, true},
		{"too close a pair gives no slope", []seen{{0, 0, 100}, {1, 0, 100}, {1.002, 300, 100}}, 2.002, 300 + 300, true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got, ok := record(2*time.Second, c.obs...).OffsetAt(instant(c.at))
			if ok != c.ok || (got-c.want).Abs() > 1 {
				t.Errorf("OffsetAt(%v s) = %v, %v; want %v, %v", c.at, got, ok, c.want, c.ok)
			}
		})
	}
}

func TestLocal(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	forward := []seen{{0, 0, 0}, {1, 0, 0}, {1.01, 20 * ms, 0}, {2.01, 20 * ms, 0}}
	backward := []seen{{0, 0, 0}, {1, 0, 0}, {1.01, -20 * ms, 0}, {2.01, -20 * ms, 0}}
	bent := []seen{{0, 0, 0}, {1, 500 * us, 0}, {1.04, 100 * ms, 0}, {2.04, 100*ms - 500*us, 0}}
	for _, c := range []struct {
		rule  string
		obs   []seen
		clock float64 // reading, in seconds since epoch
		want  float64
		err   error
	}{
		{"nothing observed", nil, 0, 0, ErrOutOfReach},
		{"slope and offset", []seen{{0, 10 * ms, 0}, {1, 10*ms + 100*us, 0}}, 0.51005, 0.5, nil},
		{"before a forward step", forward, 0.9, 0.9, nil},
		{"in the gap, shown only before the step", forward, 1.005, 1.005, nil},
		{"in the gap, shown only after the step", forward, 1.025, 1.005, nil},
		{"in the gap before the step, the earlier slope", bent, 1.030515, 1.03, nil},
		{"in the gap after the step, the later slope", bent, 1.12001, 1.02, nil},
		{"skipped by the step", forward, 1.015, 0, ErrOutOfReach},
		{"after a forward step", forward, 1.5, 1.48, nil},
		{"before a backward step", backward, 0.9, 0.9, nil},
		{"shown twice by a backward step", backward, 0.995, 0, ErrAmbiguous},
		{"after a backward step", backward, 1.5, 1.52, nil},
		{"a step smaller than the gap", []seen{{0, 0, 0}, {1, 0, 0}, {1.01, 2 * ms, 0}, {2, 2 * ms, 0}}, 1.005, 0, ErrAmbiguous},
		{"too old", forward, -2.5, 0, ErrOutOfReach},
		{"too far ahead", forward, 5, 0, ErrOutOfReach},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got, err := record(2*time.Second, c.obs...).Local(int64(instant(c.clock)))
			if !errors.Is(err, c.err) {
				t.Fatalf("Local(%v s): error %v, want %v", c.clock, err, c.err)
			}
			if err == nil && got.Sub(instant(c.want)).Abs() > 1 {
				t.Errorf("Local(%v s) = %v s, want %v s", c.clock, got.Sub(epoch).Seconds(), c.want)
			}
		})
	}
}

func TestObserveKeepsWhatIsNews(t *testing.T) {
	track := NewTrack(3, time.Second)
	for _, c := range []struct {
		rule string
		o    Observation
		want bool
	}{
		{"the first", Observation{At: epoch}, true},
		{"the same instant again", Observation{At: epoch, Offset: 1}, false},
		{"an older one", Observation{At: epoch - 1}, false},
		{"one at once, unmoved", Observation{At: epoch + 1000}, false},
		{"one at once, stepped", Observation{At: epoch + 1000, Offset: time.Millisecond}, true},
		{"a later one", Observation{At: epoch + second, Offset: time.Millisecond}, true},
		{"one that pushes the oldest out", Observation{At: epoch + 2*second, Offset: time.Millisecond}, true},
	} {
		if got := track.Observe(c.o); got != c.want {
			t.Errorf("%s: kept %v, want %v", c.rule, got, c.want)
		}
	}
	if _, ok := track.OffsetAt(epoch - second); ok {
		t.Error("the oldest observation still answers after it was pushed out")
	}
}

// walk observes a clock that is slewed at random, at irregular times, with steps of size step after
// the observations in stepAfter; it returns the observations.
func walk(rng *rand.Rand, n int, step time.Duration, stepAfter int) []Observation {
	obs := make([]Observation, 0, n)
	at, offset := epoch, time.Duration(rng.Int64N(1e9))
	for k := range n {
		obs = append(obs, Observation{At: at, Offset: offset, Window: 50})
		dt := time.Duration(1e6 + rng.Int64N(1e9))
		at = at.Add(dt)
		offset += time.Duration((rng.Float64() - 0.5) * 900e-6 * float64(dt))
		if k == stepAfter {
			offset += step
		}
	}
	return obs
}

func TestPropertyLocalInvertsOffsetAt(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		obs := walk(rng, 40, 0, -1)
		track := NewTrack(len(obs), time.Second)
		for _, o := range obs {
			track.Observe(o)
		}
		span := obs[len(obs)-1].At.Sub(epoch)
		for range 20 {
			i := epoch.Add(time.Duration(rng.Int64N(int64(span+time.Second)) - int64(500*time.Millisecond)))
			offset, ok := track.OffsetAt(i)
			if !ok {
				t.Fatalf("seed %d: no offset at %v", seed, i.Sub(epoch))
			}
			got, err := track.Local(int64(i) + int64(offset))
			if err != nil || got.Sub(i).Abs() > 2 {
				t.Fatalf("seed %d: Local = %v, %v; want within 2 ns of %v", seed, got.Sub(epoch), err, i.Sub(epoch))
			}
		}
	}
}

func TestPropertyNoReadingIsLostAtAnObservation(t *testing.T) {
	obs := walk(rand.New(rand.NewPCG(9, 9)), 60, 0, -1)
	track := NewTrack(len(obs), time.Second)
	for _, o := range obs {
		track.Observe(o)
	}
	for _, o := range obs {
		for d := int64(-3); d <= 3; d++ {
			got, err := track.Local(o.reading() + d)
			if err != nil || (got.Sub(o.At)-time.Duration(d)).Abs() > 1 {
				t.Fatalf("%d ns from an observation: Local = %v from it, %v", d, got.Sub(o.At), err)
			}
		}
	}
}

func TestPropertyAnObservationDisturbsNoEarlierMapping(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 2))
		step := time.Duration(rng.Int64N(4e9) - 2e9)
		obs := walk(rng, 40, step, 20)
		track := NewTrack(len(obs), time.Second)
		type answer struct {
			at     Instant
			offset time.Duration
		}
		var answers []answer
		for k, o := range obs {
			track.Observe(o)
			for _, a := range answers {
				if got, ok := track.OffsetAt(a.at); !ok || got != a.offset {
					t.Fatalf("seed %d, step %v: OffsetAt(%v) became %v, %v; was %v", seed, step, a.at.Sub(epoch), got, ok, a.offset)
				}
			}
			if k == 0 {
				continue
			}
			i := obs[k-1].At.Add(time.Duration(rng.Int64N(int64(o.At.Sub(obs[k-1].At)))))
			if offset, ok := track.OffsetAt(i); ok {
				answers = append(answers, answer{i, offset})
			}
		}
	}
}

func TestPropertyAUniqueAnswerIsRight(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 3))
		step := time.Duration(rng.Int64N(4e9) - 2e9)
		obs := walk(rng, 40, step, 20)
		track := NewTrack(len(obs), time.Second)
		for _, o := range obs {
			track.Observe(o)
		}
		for range 50 {
			k := rng.IntN(len(obs) - 1)
			a, b := obs[k], obs[k+1]
			if !continuous(a, b) {
				continue // where in between the clock was stepped, nobody knows
			}
			i := a.At.Add(time.Duration(rng.Int64N(int64(b.At.Sub(a.At)))))
			offset := a.Offset + time.Duration(slope(a, b)*float64(i.Sub(a.At)))
			got, err := track.Local(int64(i) + int64(offset))
			if errors.Is(err, ErrAmbiguous) {
				continue // an instant on the other side of the step, or in its gap, fits too
			}
			if err != nil || got.Sub(i).Abs() > 3 {
				t.Fatalf("seed %d, step %v: Local = %v, %v; want %v", seed, step, got.Sub(epoch), err, i.Sub(epoch))
			}
		}
	}
}

func BenchmarkLocal(b *testing.B) {
	obs := walk(rand.New(rand.NewPCG(1, 1)), 4096, 0, -1)
	track := NewTrack(len(obs), time.Second)
	for _, o := range obs {
		track.Observe(o)
	}
	reading := obs[4000].reading()
	for b.Loop() {
		if _, err := track.Local(reading); err != nil {
			b.Fatal(err)
		}
	}
}
