package arbiter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"clockarbiter/sources"
)

// crowd makes the inputs of a host with n sources at work, a quarter of them PTP: noise that moves each estimate, a new
// sample per second of PTP and per 16 s of NTP, servers of stratum 2 with reference IDs that could be loops.
func crowd(n, seconds int) []Input {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	inputs := make([]Input, seconds)
	last := make([]sources.Sample, n)
	for second := range inputs {
		in := Input{Now: noon.Add(time.Duration(second) * time.Second)}
		for i := range n {
			c := Candidate{ID: sources.ID(fmt.Sprintf("ntp:192.0.2.%d", 100+i)), Kind: sources.NTP, Options: Options{MaxAge: time.Minute}}
			delay, noise, every := sources.Some(time.Millisecond), 20*time.Microsecond, 16
			q := sources.Quality{Stratum: sources.Some[uint8](2), Reference: fmt.Sprintf("C63364%02X", i), Leap: sources.Some(sources.LeapNone)}
			if i%4 == 0 {
				c.ID, c.Kind = sources.ID(fmt.Sprintf("ptp:eth%d:0", i)), sources.PTP
				delay, noise, every = sources.None[time.Duration](), 50, 1
				q = sources.Quality{Reference: fmt.Sprint("gm", i), ClockClass: sources.Some[uint8](6), UTCOffset: sources.Some(37 * time.Second), Leap: sources.Some(sources.LeapNone)}
			}
			if second == 0 || (second+i)%every == 0 {
				last[i] = sources.Sample{Source: c.ID, At: in.Now, Offset: time.Duration(float64(noise) * rng.NormFloat64()), Delay: delay, Dispersion: 20, Quality: q}
			}
			c.Newest = sources.Some(last[i])
			c.Report = sources.Some(sources.Report{Source: c.ID, At: in.Now, Condition: sources.Measuring, Quality: q})
			c.Estimate = sources.Some(sources.Estimate{
				At: in.Now, Offset: last[i].Offset / 4, Bound: 10 * noise, OffsetSD: noise / 4, FreqSDPPB: 3, WanderPPB: 1, Jitter: noise,
				Track: 1, Samples: second + 1, LastSample: last[i].At, Terms: sources.Terms{PathAsymmetry: 10 * noise},
			})
			in.Candidates = append(in.Candidates, c)
		}
		slices.SortFunc(in.Candidates, func(c, d Candidate) int { return strings.Compare(string(c.ID), string(d.ID)) })
		inputs[second] = in
	}
	return inputs
}

func BenchmarkStep64(b *testing.B) {
	inputs := crowd(64, 600)
	a := New(DefaultConfig())
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if i == len(inputs) {
			a, i = New(DefaultConfig()), 0
		}
		a.Step(inputs[i])
		i++
	}
}

// TestStepIsCheap asks that the cost of a step is that of its sources, each as much whatever their number, and that
// it does not grow with the age of the arbiter. The shortest of many steps is compared, which no neighbour disturbs.
func TestStepIsCheap(t *testing.T) {
	cost := func(n int) (shortest time.Duration, allocated float64) {
		inputs := crowd(n, 600)
		a := New(DefaultConfig())
		var before, after runtime.MemStats
		shortest = time.Hour
		for i, in := range inputs {
			if i == len(inputs)/2 {
				runtime.ReadMemStats(&before)
			}
			begin := time.Now() //nolint:forbidigo // the cost itself is tested
			a.Step(in)
			shortest = min(shortest, time.Since(begin)) //nolint:forbidigo // the cost itself is tested
		}
		runtime.ReadMemStats(&after)
		return shortest, float64(after.Mallocs-before.Mallocs) / float64(len(inputs)/2)
	}
	few, _ := cost(8)
	many, allocated := cost(64)
	t.Logf("64 sources: %v, %.0f allocations; 8 sources: %v", many, allocated, few)
	if ratio := many.Seconds() / few.Seconds(); ratio > 20 {
		t.Errorf("64 sources cost %.1f times as much as 8", ratio)
	}
	// A source whose figures change needs its words anew: three strings, and no more.
	if limit := 3*64.0 + 20; allocated > limit {
		t.Errorf("%.0f allocations per step, limit %.0f", allocated, limit)
	}
}

func TestStepAllocatesTheSameForEver(t *testing.T) {
	inputs := crowd(64, 100)
	in := inputs[len(inputs)-1]
	a := New(DefaultConfig())
	for _, in := range inputs {
		a.Step(in)
	}
	// The runtime allocates too, now and then: the least of several counts is the step's own.
	allocations := func() float64 {
		least := math.Inf(1)
		for range 10 {
			least = min(least, testing.AllocsPerRun(10, func() { a.Step(in) }))
		}
		return least
	}
	early := allocations()
	for range 2000 {
		a.Step(in)
	}
	late := allocations()
	if t.Logf("%.0f allocations", early); late > early || early > 20 {
		t.Errorf("%.0f allocations in a step in which nothing changes, %.0f 2000 steps later; limit 20", early, late)
	}
}
