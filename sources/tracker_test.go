package sources

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/clock/timescale"
)

// world makes samples of one source over an oscillator whose frequency walks.
type world struct {
	rng       *rand.Rand
	now       timescale.Instant
	offset    float64 // truth: UTC - L, ns
	freqPPB   float64
	wanderPPB float64
	every     time.Duration
	// path returns the two one-way delays in ns, or none for a PHC.
	path func(*rand.Rand) (there, back float64)
	// reading returns the reading error in ns.
	reading func(*rand.Rand) float64
	bias    float64
}

func newWorld(seed uint64) *world {
	return &world{
		rng: rand.New(rand.NewPCG(seed, 1)), now: 1_700_000_000_000_000_000, every: time.Second, wanderPPB: 1,
		offset: 15e6, freqPPB: 40_000,
		reading: func(*rand.Rand) float64 { return 0 },
	}
}

// step advances the oscillator by one sample interval and returns what the source says.
func (w *world) step() Sample {
	dt := w.every.Seconds()
	w.offset += w.freqPPB * dt
	w.freqPPB += w.wanderPPB * math.Sqrt(dt) * w.rng.NormFloat64()
	w.now = w.now.Add(w.every)
	s := Sample{At: w.now}
	err := w.reading(w.rng) + w.bias
	if w.path != nil {
		there, back := w.path(w.rng)
		err += (there - back) / 2
		s.Delay = Some(time.Duration(there + back))
	}
	s.Offset = time.Duration(math.Round(w.offset + err))
	return s
}

func gauss(sd float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return sd * r.NormFloat64() }
}

func exponential(base, jitter float64) func(*rand.Rand) (float64, float64) {
	return func(r *rand.Rand) (float64, float64) {
		return base + jitter*r.ExpFloat64(), base + jitter*r.ExpFloat64()
	}
}

// heavy is software PTP on a busy host: now and then a packet waits a millisecond.
func heavy(base, jitter float64) func(*rand.Rand) (float64, float64) {
	one := func(r *rand.Rand) float64 {
		d := base + jitter*r.ExpFloat64()
		if r.Float64() < 0.03 {
			d += 1e6 * r.ExpFloat64()
		}
		return d
	}
	return func(r *rand.Rand) (float64, float64) { return one(r), one(r) }
}

// TestTracking runs the kinds of source that the field has and limits the true error after settling, and the
// share of instants at which the bound did not contain the truth.
func TestTracking(t *testing.T) {
	tests := []struct {
		name    string
		every   time.Duration
		reading func(*rand.Rand) float64
		path    func(*rand.Rand) (float64, float64)
		wander  float64
		warm, n int
		rms     time.Duration
		bound   time.Duration
	}{
		{name: "phc 50ns 1Hz", every: time.Second, reading: gauss(50), wander: 1, warm: 300, n: 4000, rms: 29, bound: 200},
		{name: "phc 50ns 1Hz quiet", every: time.Second, reading: gauss(50), wander: 0.1, warm: 300, n: 4000, rms: 23, bound: 140},
		{name: "phc 50ns 1Hz wandering", every: time.Second, reading: gauss(50), wander: 10, warm: 300, n: 4000, rms: 50, bound: 320},
		{name: "phc 50ns 16Hz", every: time.Second / 16, reading: gauss(50), wander: 1, warm: 800, n: 16000, rms: 15, bound: 100},
		{name: "ptp software", every: time.Second, path: exponential(20e3, 5e3), wander: 1, warm: 100, n: 4000, rms: 700, bound: 30e3},
		{name: "ptp software heavy tails", every: time.Second, path: heavy(20e3, 5e3), wander: 1, warm: 100, n: 4000, rms: 700, bound: 30e3},
		{name: "ntp 1s 5us", every: time.Second, path: exponential(30e3, 5e3), wander: 1, warm: 100, n: 4000, rms: 700, bound: 40e3},
		{name: "ntp 16s 100us", every: 16 * time.Second, path: exponential(1e6, 100e3), wander: 1, warm: 100, n: 4000, rms: 15e3, bound: 1200e3},
		{name: "ntp 64s 5ms", every: 64 * time.Second, path: exponential(10e6, 5e6), wander: 1, warm: 100, n: 2000, rms: 400e3, bound: 17e6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(7)
			w.every, w.path, w.wanderPPB = tt.every, tt.path, tt.wander
			if tt.reading != nil {
				w.reading = tt.reading
			}
			rms, bound, missed, restarts := follow(w, NewTracker(TrackerConfig{Kind: NTP}), tt.warm, tt.n)
			t.Logf("rms %v, mean bound %v, missed %d of %d, restarts %d", rms, bound, missed, tt.n, restarts)
			if rms > tt.rms {
				t.Errorf("rms error %v, want at most %v", rms, tt.rms)
			}
			if bound > tt.bound {
				t.Errorf("mean bound %v, want at most %v", bound, tt.bound)
			}
			if missed*1000 > tt.n {
				t.Errorf("bound missed the truth %d times in %d", missed, tt.n)
			}
			if restarts > 0 {
				t.Errorf("%d restarts of a source that never changed", restarts)
			}
		})
	}
}

// follow feeds the tracker and compares with the truth halfway between samples.
func follow(w *world, tr *Tracker, warm, n int) (rms, bound time.Duration, missed, restarts int) {
	var squares, bounds float64
	for i := range warm + n {
		if tr.Add(w.step()).Outcome == Restarted {
			restarts++
		}
		e, _ := tr.Estimate(w.now.Add(w.every / 2))
		truth := w.offset + w.freqPPB*w.every.Seconds()/2
		miss := float64(e.Offset) - truth
		if math.Abs(miss) > float64(e.Bound) {
			missed++
		}
		if i >= warm {
			squares += miss * miss
			bounds += float64(e.Bound)
		}
	}
	return time.Duration(math.Sqrt(squares / float64(n))), time.Duration(bounds / float64(n)), missed, restarts
}

func TestTwoSamplesGiveAFrequency(t *testing.T) {
	for _, ppm := range []float64{-500, -40, 0, 40, 500} {
		w := newWorld(1)
		w.freqPPB, w.wanderPPB, w.reading = ppm*1000, 0, gauss(1000)
		tr := NewTracker(TrackerConfig{})
		for range 2 {
			if v := tr.Add(w.step()); v.Outcome != Accepted {
				t.Fatalf("%v ppm: %+v", ppm, v)
			}
		}
		e, _ := tr.Estimate(w.now)
		if miss := math.Abs(e.FreqPPB - w.freqPPB); miss > 4*e.FreqSDPPB || e.FreqSDPPB > 10_000 {
			t.Errorf("%v ppm: frequency off by %.0f ppb, SD %.0f ppb", ppm, miss, e.FreqSDPPB)
		}
	}
}

// TestCoarseFirstSamplesAreNoMeasureOfWhatComes: what is known of the source does not depend for long on the first
// samples, which say themselves that they are bad.
func TestCoarseFirstSamplesAreNoMeasureOfWhatComes(t *testing.T) {
	w, tr := newWorld(3), NewTracker(TrackerConfig{})
	w.wanderPPB = 0
	n := 0
	w.reading = func(r *rand.Rand) float64 {
		if n++; n <= 2 {
			return 300 * float64(2*n-3)
		}
		return 3 * r.NormFloat64()
	}
	for i := range 30 {
		s := w.step()
		s.Delay, s.Dispersion = Some(100*time.Nanosecond), []time.Duration{800, 800, 25}[min(i, 2)]
		if v := tr.Add(s); v.Outcome != Accepted {
			t.Fatalf("sample %d: %+v", i, v)
		}
		e, ok := tr.Estimate(w.now)
		if !ok || e.Samples != i+1 || e.Track != 1 || i == 2 && e.FreqSDPPB > 5000 {
			t.Fatalf("after sample %d: %+v", i, e)
		}
		if off := math.Abs(float64(e.Offset) - w.offset); i > 3 && (off > 20 || e.Jitter > 60) {
			t.Errorf("after sample %d: off by %.0f ns, jitter %v", i, off, e.Jitter)
		}
	}
}

// TestASpreadThatWasLearntStays: one that samples have shown to be larger than guessed is no guess any more.
func TestASpreadThatWasLearntStays(t *testing.T) {
	w, tr := newWorld(3), NewTracker(TrackerConfig{})
	w.reading = gauss(5000)
	for i := range 7 {
		s := w.step()
		s.Delay, s.Dispersion = Some(10*time.Microsecond), []time.Duration{3000, 3000, 3000, 3000, 3000, 300}[min(i, 5)]
		if v := tr.Add(s); i == 6 && v.Outcome != Accepted {
			t.Errorf("an ordinary sample after a sharper one: %+v", v)
		}
	}
}

func TestRefusedSamplesDoNotEnter(t *testing.T) {
	at := timescale.Instant(1e18)
	tests := []struct {
		rule string
		s    Sample
		want Outcome
	}{
		{"same instant", Sample{At: at, Offset: 5}, Duplicate},
		{"older", Sample{At: at - 1}, Backwards},
		{"later than the present", Sample{At: at.Add(2 * time.Second)}, Future},
		{"another source's", Sample{Source: "ntp:other", At: at + 1}, Absurd},
		{"negative delay", Sample{At: at + 1, Delay: Some(-time.Nanosecond)}, Absurd},
		{"negative dispersion", Sample{At: at + 1, Dispersion: -1}, Absurd},
		{"delay of an hour", Sample{At: at + 1, Delay: Some(time.Hour)}, Absurd},
		{"offset of 200 years", Sample{At: at + 1, Offset: math.MaxInt64}, Absurd},
		{"offset of -292 years", Sample{At: at + 1, Offset: math.MinInt64}, Absurd},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			tr := NewTracker(TrackerConfig{Source: "ntp:a"})
			tr.Observe(at.Add(time.Second))
			tr.Add(Sample{Source: "ntp:a", At: at})
			before, _ := tr.Estimate(at)
			v := tr.Add(tt.s)
			after, _ := tr.Estimate(at)
			if v.Outcome != tt.want || v.Reason == "" {
				t.Errorf("got %v %q, want %v with a reason", v.Outcome, v.Reason, tt.want)
			}
			if d := cmp.Diff(before, after); d != "" {
				t.Errorf("the estimate changed:\n%s", d)
			}
		})
	}
}

// TestJump pins the outlier gate: the estimate stays while a jump is doubted, and follows it when three samples agree.
func TestJump(t *testing.T) {
	w := newWorld(3)
	w.path = exponential(20e3, 5e3)
	tr := NewTracker(TrackerConfig{Kind: PTP})
	for range 60 {
		tr.Add(w.step())
	}
	w.bias = 15e6
	var got []Outcome
	for i := range 4 {
		got = append(got, tr.Add(w.step()).Outcome)
		e, _ := tr.Estimate(w.now)
		miss := math.Abs(float64(e.Offset) - w.offset)
		if i < 2 && (miss > 10e3 || e.Suspects != i+1) {
			t.Errorf("sample %d after the jump: estimate off by %.0f ns, %d suspects", i+1, miss, e.Suspects)
		}
	}
	if d := cmp.Diff([]Outcome{Outlier, Outlier, Restarted, Accepted}, got); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
	e, _ := tr.Estimate(w.now)
	if miss := math.Abs(float64(e.Offset) - w.offset - w.bias); miss > 30e3 || e.Track != 2 {
		t.Errorf("after the jump off by %.0f ns on track %d", miss, e.Track)
	}
}

func TestFrequencyJumpIsFollowedInBoundedSamples(t *testing.T) {
	w := newWorld(4)
	w.reading = gauss(50)
	tr := NewTracker(TrackerConfig{Kind: PTP})
	for range 200 {
		tr.Add(w.step())
	}
	w.freqPPB += 20_000
	for i := range 20 {
		tr.Add(w.step())
		e, _ := tr.Estimate(w.now)
		if miss := math.Abs(float64(e.Offset) - w.offset); i >= disagreeing && miss > 1000 {
			t.Errorf("%d samples after the jump: off by %.0f ns", i+1, miss)
		}
	}
}

func TestPairOfWildReadingsIsNotFollowed(t *testing.T) {
	w := newWorld(5)
	w.reading = gauss(50)
	tr := NewTracker(TrackerConfig{Kind: PTP})
	for i := range 400 {
		w.bias = 0
		if i > 20 && i%40 < 2 {
			w.bias = 4e9
		}
		tr.Add(w.step())
		e, _ := tr.Estimate(w.now)
		if miss := math.Abs(float64(e.Offset) - w.offset); i > 20 && miss > 400 {
			t.Fatalf("sample %d: off by %.0f ns", i, miss)
		}
	}
}

func TestRouteChangeForgetsTheOldMinimum(t *testing.T) {
	w := newWorld(6)
	w.path = exponential(1e6, 50e3)
	tr := NewTracker(TrackerConfig{})
	for range 100 {
		tr.Add(w.step())
	}
	w.path = exponential(3e6, 50e3)
	for range 2 * window {
		tr.Add(w.step())
	}
	e, _ := tr.Estimate(w.now)
	if e.Terms.PathAsymmetry < 3*time.Millisecond {
		t.Errorf("path asymmetry %v is still that of the old route", e.Terms.PathAsymmetry)
	}
}

func TestBoundIsTheSumOfItsTerms(t *testing.T) {
	tr := NewTracker(TrackerConfig{Floor: time.Second})
	tr.Add(Sample{At: 1, Delay: Some(8 * time.Millisecond), Dispersion: time.Millisecond, Quality: Quality{
		RootDelay: Some(4 * time.Millisecond), RootDispersion: Some(3 * time.Millisecond), ClockAccuracy: Some(100 * time.Nanosecond),
	}})
	e, _ := tr.Estimate(1)
	spread := 4 * 800 * time.Microsecond
	known := 2*time.Millisecond + 3*time.Millisecond + 100 + 4*time.Millisecond + time.Millisecond + spread
	want := Terms{
		RootDelay: 2 * time.Millisecond, RootDispersion: 3 * time.Millisecond, ClockAccuracy: 100,
		PathAsymmetry: 4 * time.Millisecond, Reading: time.Millisecond, Spread: spread, Floor: time.Second - known,
	}
	if d := cmp.Diff(want, e.Terms); d != "" {
		t.Errorf("terms (-want +got):\n%s", d)
	}
	if e.Bound != time.Second {
		t.Errorf("bound %v, want the floor", e.Bound)
	}
}

// TestBoundCoversAnyAsymmetry: however the delay is shared between the directions, the truth is in the bound.
func TestBoundCoversAnyAsymmetry(t *testing.T) {
	for _, share := range []float64{0, 0.1, 0.5, 0.9, 1} {
		w := newWorld(12)
		w.path = func(r *rand.Rand) (float64, float64) {
			return share*2e6 + 20e3*r.ExpFloat64(), (1-share)*2e6 + 20e3*r.ExpFloat64()
		}
		tr := NewTracker(TrackerConfig{Kind: NTP})
		for range 500 {
			tr.Add(w.step())
			if e, _ := tr.Estimate(w.now); math.Abs(float64(e.Offset)-w.offset) > float64(e.Bound) {
				t.Fatalf("share %v: off by %.0f ns, bound %v", share, float64(e.Offset)-w.offset, e.Bound)
			}
		}
	}
}

func TestResetForgetsAndCounts(t *testing.T) {
	tr := NewTracker(TrackerConfig{})
	tr.Add(Sample{At: 5, Quality: Quality{Reference: "GPS"}})
	tr.Reset()
	if _, ok := tr.Estimate(6); ok {
		t.Error("an estimate after Reset")
	}
	if got := tr.Quality().Reference; got != "GPS" {
		t.Errorf("reference %q is lost", got)
	}
	tr.Add(Sample{At: 7})
	if e, _ := tr.Estimate(7); e.Track != 2 || e.Samples != 1 {
		t.Errorf("track %d with %d samples, want 2 with 1", e.Track, e.Samples)
	}
}

func TestProjectionNeverPromisesMore(t *testing.T) {
	w := newWorld(8)
	w.reading = gauss(50)
	tr := NewTracker(TrackerConfig{})
	for range 300 {
		tr.Add(w.step())
	}
	e, _ := tr.Estimate(w.now)
	last := e.Bound
	for _, age := range []time.Duration{time.Second, time.Minute, time.Hour, 1000 * time.Hour} {
		p := e.Project(w.now.Add(age))
		exact, _ := tr.Estimate(w.now.Add(age))
		if p.Bound < last || p.Bound+1 < exact.Bound || p.Offset-exact.Offset > 1 || exact.Offset-p.Offset > 1 {
			t.Errorf("after %v: projected %v +- %v, tracker says %v +- %v", age, p.Offset, p.Bound, exact.Offset, exact.Bound)
		}
		last = p.Bound
	}
}

// TestSymmetries: a shift of L and a change of sign change the estimate in the same way and in nothing else.
func TestSymmetries(t *testing.T) {
	run := func(shift timescale.Instant, sign time.Duration) Estimate {
		w := newWorld(9)
		w.path = heavy(20e3, 5e3)
		tr := NewTracker(TrackerConfig{})
		for range 200 {
			s := w.step()
			s.At += shift
			s.Offset *= sign
			tr.Add(s)
		}
		e, _ := tr.Estimate(w.now + shift)
		e.At -= shift
		e.LastSample -= shift
		e.Offset *= sign
		e.FreqPPB *= float64(sign)
		return e
	}
	want := run(0, 1)
	if d := cmp.Diff(want, run(1e18, 1)); d != "" {
		t.Errorf("shifted by decades:\n%s", d)
	}
	if d := cmp.Diff(want, run(0, -1)); d != "" {
		t.Errorf("with the other sign:\n%s", d)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	w := newWorld(10)
	w.path = exponential(20e3, 5e3)
	tr := NewTracker(TrackerConfig{})
	for range 10 {
		tr.Add(w.step())
	}
	if n := testing.AllocsPerRun(200, func() { tr.Add(w.step()); tr.Estimate(w.now) }); n > 0 {
		t.Errorf("%v allocations per sample", n)
	}
}

// FuzzTracker feeds arbitrary samples: the estimate stays finite, its covariance positive, its bound a half-width.
func FuzzTracker(f *testing.F) {
	f.Add([]byte("clock"), int64(1e9), int64(5), int64(-3))
	f.Add([]byte{0, 255, 3, 7, 9, 200, 31}, int64(math.MaxInt64), int64(math.MinInt64), int64(1))
	f.Fuzz(func(t *testing.T, script []byte, a, b, c int64) {
		tr := NewTracker(TrackerConfig{Floor: time.Duration(c), MaxFrequencyPPM: float64(a), AsymmetryShare: float64(b)})
		pool := [...]int64{a, b, c, a + b, 0, 1, 1e9, math.MaxInt64, math.MinInt64, a / 3}
		at := int64(0)
		for i, op := range script {
			at += pool[int(op)%len(pool)]
			s := Sample{At: timescale.Instant(at), Offset: time.Duration(pool[int(op/3)%len(pool)]), Dispersion: time.Duration(pool[int(op/5)%len(pool)])}
			if op&1 == 1 {
				s.Delay = Some(time.Duration(pool[int(op/7)%len(pool)]))
				s.Quality.RootDelay = Some(time.Duration(b))
				s.Quality.RootDispersion = Some(time.Duration(c))
			}
			if v := tr.Add(s); v.Outcome == 0 || !v.Entered() && v.Reason == "" {
				t.Fatalf("verdict without outcome or reason: %+v", v)
			}
			checkEstimate(t, tr, timescale.Instant(at))
			checkEstimate(t, tr, timescale.Instant(pool[i%len(pool)]))
		}
	})
}

func checkEstimate(t *testing.T, tr *Tracker, at timescale.Instant) {
	t.Helper()
	e, ok := tr.Estimate(at)
	if !ok {
		return
	}
	p := e.Project(at.Add(time.Hour))
	for _, e := range []Estimate{e, p} {
		for _, v := range []float64{e.FreqPPB, e.FreqSDPPB, e.WanderPPB, e.LastingWanderPPB} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("not finite: %+v", e)
			}
		}
		if e.Bound < 0 || e.Bound > maxBound || e.OffsetSD < 0 || e.FreqSDPPB < 0 || e.Jitter < 0 {
			t.Fatalf("not an uncertainty: %+v", e)
		}
	}
	checkCovariance(t, tr.fit.best)
	for _, m := range tr.fit.direct.models {
		checkCovariance(t, m.belief)
	}
	if b := tr.fit.blocks; b != nil {
		checkCovariance(t, b.belief())
		for _, m := range b.bank.models {
			checkCovariance(t, m.belief)
		}
	}
}

func checkCovariance(t *testing.T, b belief) {
	t.Helper()
	if !(b.p00 > 0) || !(b.p11 > 0) || !(b.p01*b.p01 <= b.p00*b.p11*(1+1e-9)) {
		t.Fatalf("not a covariance: %+v", b)
	}
}

func BenchmarkTrackerAdd(b *testing.B) {
	w := newWorld(11)
	w.path = exponential(20e3, 5e3)
	samples := make([]Sample, 4096)
	for i := range samples {
		samples[i] = w.step()
	}
	tr := NewTracker(TrackerConfig{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(samples) {
			i = 0
			b.StopTimer()
			tr = NewTracker(TrackerConfig{})
			b.StartTimer()
		}
		tr.Add(samples[i])
		i++
	}
}

func TestARestartBeginsWithTheEvidence(t *testing.T) {
	tr := NewTracker(TrackerConfig{Source: "ntp:a", Kind: NTP})
	at := timescale.Instant(1_790_000_000_000_000_000)
	offset := 3 * time.Millisecond
	for i := range 40 {
		if i == 30 {
			offset += 15 * time.Millisecond
		}
		at = at.Add(time.Second)
		tr.Add(Sample{Source: "ntp:a", At: at, Offset: offset, Delay: Some(200 * time.Microsecond)})
		e, ok := tr.Estimate(at)
		if !ok || at.Sub(e.LastSample) > 10*time.Second {
			t.Fatalf("sample %d: newest sample of the estimate is %s old", i, at.Sub(e.LastSample))
		}
	}
	if e, _ := tr.Estimate(at); (e.Offset-offset).Abs() > 10*time.Microsecond || e.Track != 2 {
		t.Errorf("offset %s on track %d, want %s on track 2", e.Offset, e.Track, offset)
	}
}

// BenchmarkSixtyFourSources is what 64 sources cost that are read 16 times per second each: the share of one
// core is 1024 samples per second.
func BenchmarkSixtyFourSources(b *testing.B) {
	const many, rate = 64, 16
	w := newWorld(12)
	w.every, w.reading = time.Second/rate, gauss(50)
	samples := make([]Sample, 8192)
	for i := range samples {
		samples[i] = w.step()
	}
	trackers := make([]*Tracker, many)
	for i := range trackers {
		trackers[i] = NewTracker(TrackerConfig{Kind: PTP})
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		at := samples[n/many%len(samples)]
		if n/many%len(samples) == 0 && n > 0 {
			at.At = trackers[n%many].newest.At.Add(w.every) // the series starts again: one outlier
		}
		trackers[n%many].Add(at)
		n++
	}
	b.ReportMetric(100*many*rate*b.Elapsed().Seconds()/float64(b.N), "%core")
}

// TestABurstAtTheStartMakesNoFastSource: of an NTP server that begins with a burst, a packet that waited in a queue moves
// nothing later on.
func TestABurstAtTheStartMakesNoFastSource(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	tr := NewTracker(TrackerConfig{})
	at := timescale.Instant(1_800_000_000 * int64(time.Second))
	add := func(after, queued time.Duration) {
		at = at.Add(after)
		tr.Add(Sample{At: at, Offset: -queued / 2, Delay: Some(time.Microsecond + queued)})
	}
	load := 2.0
	usual := func() time.Duration { // as busy as the network was
		load += 0.1*(0.7-load) + 0.1*rng.NormFloat64()
		return time.Duration(1000 * max(0, load))
	}
	for range 4 {
		add(375*time.Millisecond, usual())
	}
	for range 80 {
		add(time.Second, usual())
	}
	before, _ := tr.Estimate(at.Add(4 * time.Second))
	add(4*time.Second, 7*time.Microsecond)
	after, _ := tr.Estimate(at)
	moved, bent := after.Offset-before.Offset, after.FreqPPB-before.FreqPPB
	if moved.Abs() > 500*time.Nanosecond || math.Abs(bent) > 50 {
		t.Errorf("a packet that waited 7 us moved the estimate by %v and its rate by %.0f ppb", moved, bent)
	} else {
		t.Logf("a packet that waited 7 us moved the estimate by %v and its rate by %.0f ppb", moved, bent)
	}
}

// The first packets of a server often wait, some of them long, on one side. An estimate that follows one of them is off by
// no more than its bound all the same.
func TestPropertyTheFirstBoundsHoldWhateverPacketsWait(t *testing.T) {
	const start = timescale.Instant(1e18)
	for _, waiting := range []float64{0.05, 0.2, 0.5} { // the share of packets
		for seed := range uint64(3000) {
			rng := rand.New(rand.NewPCG(seed, 1))
			way := func() float64 {
				ns := 20e3 + rng.ExpFloat64()*5e3
				if rng.Float64() < waiting {
					ns += rng.ExpFloat64() * 150e3
				}
				return ns
			}
			freq := rng.NormFloat64() * 10e3 // ppb
			truth := func(at timescale.Instant) float64 { return freq * 1e-9 * float64(at-start) }
			tr := NewTracker(TrackerConfig{Kind: NTP})
			for n := range 12 {
				at := start.Add(time.Duration(n) * 2 * time.Second)
				out, back := way(), way()
				tr.Add(Sample{At: at, Offset: time.Duration(truth(at) + (out-back)/2), Delay: Some(time.Duration(out + back)), Dispersion: 200})
				for now := at; now < at.Add(2*time.Second); now = now.Add(250 * time.Millisecond) {
					e, _ := tr.Estimate(now)
					if off := math.Abs(float64(e.Offset) - truth(now)); off > float64(e.Bound) {
						t.Fatalf("%v of packets wait, seed %d, %v after sample %d: off by %.0f ns, bound %v", waiting, seed, now.Sub(at), n+1, off, e.Bound)
					}
				}
			}
		}
	}
}
