package servo

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

const (
	interval = 250 * time.Millisecond
	epoch    = timescale.Instant(1_800_000_000 * int64(time.Second))
	quantum  = 1000.0 / 65536 // ppb, the kernel's
)

var limits = Limits{Interval: interval, MaxSlewPPM: 400, MaxFrequencyPPM: 500, MaxTotalPPM: 1000}

// loop is a servo, a clock with an oscillator, and a target, all on L, which starts at 0.
type loop struct {
	servo *Servo
	rng   *rand.Rand
	// The clock: S - L in ns, the frequency in force, what its oscillator adds, both ppb.
	clock, freq, oscillator float64
	// The target: T - L in ns, its rate in ppb, its noise in ns.
	target, rate, noise float64
	// Noise of a reading of the clock (uniform, half-width), and by how much more its window claims,
	// ns.
	reading, excess float64
	// What passes between the reading and the new frequency, whether the servo is told of it, and what passes at most
	// until the kernel heeds it.
	delay   time.Duration
	told    bool
	heeds   time.Duration
	elapsed time.Duration
	blind   bool // no target
	late    time.Duration
	last    Output
}

func newLoop(l Limits) *loop {
	return &loop{servo: New(l), rng: rand.New(rand.NewPCG(1, 2)), reading: 50}
}

// tick runs one control period. The error at its start is target - clock, without noise.
func (l *loop) tick() (errorNS float64) {
	in := Input{
		At:      epoch.Add(l.elapsed),
		System:  time.Duration(math.Round(l.clock + l.reading*(2*l.rng.Float64()-1))),
		Window:  time.Duration(l.reading + l.excess),
		FreqPPB: l.freq,
	}
	if !l.blind {
		in.Target = sources.Some(sources.Estimate{
			At:       in.At,
			Offset:   time.Duration(math.Round(l.target + l.noise*l.rng.NormFloat64())),
			FreqPPB:  l.rate,
			OffsetSD: time.Duration(l.noise),
		})
	}
	l.last = l.servo.Step(in)
	errorNS = l.target - l.clock
	late := l.delay.Seconds() + l.heeds.Seconds()*l.rng.Float64()
	l.clock += l.freq * late
	l.freq = math.Round(l.last.FreqPPB.Or(l.freq)/quantum) * quantum
	l.clock -= l.freq * late
	if l.told {
		l.servo.Commanded(in.At.Add(l.delay))
	}
	dt := (interval + l.late).Seconds()
	l.clock += (l.freq + l.oscillator) * dt
	l.target += l.rate * dt
	l.elapsed += interval + l.late
	return errorNS
}

// run runs n periods and returns the RMS and the largest of the errors, in ns.
func (l *loop) run(n int) (rms, peak float64) {
	var sum float64
	for range n {
		e := l.tick()
		sum += e * e
		peak = max(peak, math.Abs(e))
	}
	return math.Sqrt(sum / float64(n)), peak
}

func TestSlewTakesWhatTheRateNeeds(t *testing.T) {
	for _, ppm := range []float64{400, 100} {
		for _, oscillator := range []float64{0, 40_000, -40_000} {
			lim := limits
			lim.MaxSlewPPM = ppm
			l := newLoop(lim)
			l.oscillator, l.target = oscillator, 15e6
			needed := time.Duration(15e-3 / (ppm * 1e-6) * 1e9)
			for math.Abs(l.tick()) > 1000 {
				if l.elapsed > time.Hour {
					t.Fatal("never within 1 us")
				}
			}
			t.Logf("15 ms at %g ppm, oscillator %+g ppb: %v, needed %v", ppm, oscillator, l.elapsed, needed)
			if l.elapsed > needed*11/10 {
				t.Errorf("15 ms at %g ppm, oscillator %+g ppb, took %v, want at most 1.1 x %v", ppm, oscillator, l.elapsed, needed)
			}
			if _, peak := l.run(400); peak > 1000 {
				t.Errorf("came back to %.0f ns after it was within 1 us", peak)
			}
		}
	}
}

func TestPhaseStepIsRemovedWithoutOvershoot(t *testing.T) {
	for _, size := range []float64{100, 1e3, 100e3, 15e6, -15e6} {
		l := newLoop(limits)
		l.reading = 0
		l.run(200)
		l.target += size
		var over float64
		for range 1000 {
			over = max(over, -l.tick()*math.Copysign(1, size))
		}
		if over > 2 {
			t.Errorf("phase step of %g ns overshoots by %.1f ns", size, over)
		}
	}
}

func TestFrequencyStepOfTheTarget(t *testing.T) {
	for _, ppb := range []float64{10, 1e3, 50e3} {
		l := newLoop(limits)
		l.run(400)
		l.rate += ppb
		if _, peak := l.run(400); peak > l.reading {
			t.Errorf("frequency step of %g ppb moves the clock by %.1f ns, want at most a reading window", ppb, peak)
		}
	}
}

func TestFollowsAConstantFrequency(t *testing.T) {
	t.Run("exact reading: the quantum alone", func(t *testing.T) {
		l := newLoop(limits)
		l.reading, l.rate = 0, 12345.678
		l.run(400)
		if rms, peak := l.run(4000); peak > 1 {
			t.Errorf("RMS %.3f ns, peak %.3f ns; want within 1 ns", rms, peak)
		}
	})
	t.Run("reading window of 50 ns", func(t *testing.T) {
		for _, oscillator := range []float64{0, 40_000} {
			l := newLoop(limits)
			l.rate, l.oscillator = 12345.678, oscillator
			l.run(800)
			rms, peak := l.run(4000)
			t.Logf("oscillator %+g ppb: control noise RMS %.2f ns, peak %.2f ns", oscillator, rms, peak)
			if rms > 5 {
				t.Errorf("oscillator %+g ppb: control noise RMS %.2f ns, want under 5 ns", oscillator, rms)
			}
		}
	})
}

// A slow virtual machine, as measured: the window is 400 ns, the noise 14 ns RMS, and it takes a
// while from the reading to the write.
func TestAWideWindowAndALateCommand(t *testing.T) {
	l := newLoop(limits)
	l.reading, l.excess, l.delay = 25, 375, 300*time.Microsecond
	l.rate, l.target = 12345.678, 2e6
	for range 800 {
		if l.tick(); l.last.Unexplained != 0 {
			t.Fatalf("at %v: our own command moved the clock by %v unexplained", l.elapsed, l.last.Unexplained)
		}
	}
	rms, peak := l.run(4000)
	t.Logf("control noise RMS %.2f ns, peak %.2f ns", rms, peak)
	if rms > 5 {
		t.Errorf("control noise RMS %.2f ns, want under 5 ns", rms)
	}
}

func TestALateCommandLeavesNoError(t *testing.T) {
	for _, told := range []bool{true, false} {
		l := newLoop(limits)
		l.reading, l.excess, l.delay, l.told = 5, 395, 2*time.Millisecond, told
		l.run(400)
		l.target += 20_000
		l.run(12)
		if rms, _ := l.run(8); rms > 3 {
			t.Errorf("told %v: off by %.1f ns RMS after a slew", told, rms)
		}
	}
}

// TestTheInstantOfACommandIsKnown: what was in force until the command was written moved the clock too.
func TestTheInstantOfACommandIsKnown(t *testing.T) {
	p := plant{at: epoch, started: true, freqPPB: 400_000, commanded: epoch.Add(2 * time.Millisecond)}
	p.predict(epoch.Add(interval), 0)
	if math.Abs(p.phase-800) > 1e-6 {
		t.Errorf("400 ppm for 2 ms moved the clock by %.3f ns, want 800", p.phase)
	}
}

// wide is a clock whose readings scatter by some ns and may be wrong by more than a microsecond.
func wide(ticks int) *loop {
	l := newLoop(limits)
	l.reading, l.excess = 8, 1660
	l.target, l.rate = 400_000, 25_000
	l.run(ticks)
	return l
}

// honest runs for a while and returns the largest error. The servo may be wrong by what it doubts.
func (l *loop) honest(t *testing.T, ticks int) (peak float64) {
	t.Helper()
	for range ticks {
		e := l.tick()
		if wrong := math.Abs(e - float64(l.last.Error.Or(0))); wrong > float64(l.last.Doubt)+l.reading+1 {
			t.Errorf("at %v: the error is %.0f ns, the servo says %v +-%v", l.elapsed, e, l.last.Error, l.last.Doubt)
		}
		peak = max(peak, math.Abs(e))
	}
	return peak
}

// TestNoReadingIsBelievedForLong: within a wide window one reading may be wrong by 1.3 us, or the clock may have moved
// by as much. Who took the former for the clock, or his own error for the scatter of the readings, was off for minutes.
func TestNoReadingIsBelievedForLong(t *testing.T) {
	for _, ticks := range []int{30, 60, 120, 400} {
		t.Run("one is wrong", func(t *testing.T) {
			l := wide(ticks)
			l.clock += 1300
			l.tick()
			l.clock -= 1300
			if peak := l.honest(t, 320); peak > 20 {
				t.Errorf("after %d ticks: it moves the clock by %.0f ns", ticks, peak)
			}
		})
		t.Run("the clock moved", func(t *testing.T) {
			l := wide(ticks)
			l.clock += 1300
			l.honest(t, 16)
			if peak := l.honest(t, 320); peak > 20 {
				t.Errorf("after %d ticks: still off by %.0f ns 4 s later", ticks, peak)
			}
		})
		t.Run("the clock runs 60 ppb fast for 20 s", func(t *testing.T) {
			l := wide(ticks)
			l.oscillator = 60
			peak := l.honest(t, 80)
			l.oscillator = 0
			if peak = max(peak, l.honest(t, 320)); peak > 100 {
				t.Errorf("after %d ticks: off by %.0f ns", ticks, peak)
			}
		})
	}
}

// TestAJumpLeavesTheRate: a kernel that sleeps between its ticks keeps its clock on the commanded line only to some
// ten ns: it jumps, and is back a second or some later. Who forgets the rate over it swings by tens of ppb each time.
func TestAJumpLeavesTheRate(t *testing.T) {
	var sum float64
	var n int
	for seed := range uint64(100) {
		l := wide(400)
		l.rng = rand.New(rand.NewPCG(1, seed))
		l.reading, l.blind = 1, true
		l.run(100)
		jump := 12 + 8*l.rng.Float64()
		for _, j := range [...]float64{jump, -jump} {
			l.clock += j
			for range 3 + l.rng.IntN(12) {
				l.tick()
				off := l.last.BasePPB - l.rate
				sum += off * off
				n++
			}
		}
	}
	rms := math.Sqrt(sum / float64(n))
	t.Logf("the rate was off by %.2f ppb RMS", rms)
	if rms > 1 {
		t.Errorf("jumps by up to 20 ns swing the rate by %.1f ppb RMS", rms)
	}
}

// TestReadingsAreBelievedAsTheyAre: the window of a clock that is slow to read says little of how far its readings
// scatter. Who believed it would be off for a minute by what the kernel made of the slews of a cold start.
func TestReadingsAreBelievedAsTheyAre(t *testing.T) {
	for _, c := range []struct {
		clock           string
		reading, excess float64
		limit           float64
	}{
		{"a TSC", 10, 15, 5},
		{"an emulated machine", 10, 1660, 5},
		{"a timer whose window is all error", 600, 0, 100},
	} {
		l := newLoop(limits)
		l.reading, l.excess, l.heeds = c.reading, c.excess, 4*time.Millisecond
		for k := range 40 {
			l.target += 20_000 * float64(1-k%2*2)
			l.run(10)
		}
		rms, peak := l.run(40)
		t.Logf("%s: RMS %.1f ns, peak %.1f ns", c.clock, rms, peak)
		if rms > c.limit {
			t.Errorf("%s: off by %.1f ns RMS after slews, want %.0f ns at most", c.clock, rms, c.limit)
		}
	}
}

func TestALateCommandIsNoForeignMove(t *testing.T) {
	l := newLoop(limits)
	l.reading, l.delay = 5, 300*time.Microsecond
	l.run(400)
	l.target += 1e6
	for range 100 {
		if l.tick(); l.last.Unexplained != 0 {
			t.Fatalf("at %v: a slew of our own counts as foreign: %v", l.elapsed, l.last.Unexplained)
		}
	}
}

func TestTargetNoiseIsNotAmplified(t *testing.T) {
	for _, noise := range []float64{20, 1e3, 50e3} {
		l := newLoop(limits)
		l.noise = noise
		l.run(800)
		rms, _ := l.run(4000)
		t.Logf("target noise %g ns: clock %.1f ns RMS", noise, rms)
		if rms > noise {
			t.Errorf("target noise of %g ns reaches the clock as %.1f ns RMS, amplified", noise, rms)
		}
	}
}

func TestALateTickDoesNotReverseTheError(t *testing.T) {
	l := newLoop(limits)
	l.reading = 0
	l.run(200)
	l.target += 50e3
	l.late = interval
	for range 100 {
		if e := l.tick(); e < -2 {
			t.Fatalf("error reversed to %.0f ns", e)
		}
	}
}

func TestCoast(t *testing.T) {
	t.Run("without any target yet, the frequency is left as found", func(t *testing.T) {
		l := newLoop(limits)
		l.blind, l.freq = true, 7*quantum
		l.run(10)
		if l.last.FreqPPB.Present() {
			t.Errorf("commands %v", l.last.FreqPPB)
		}
	})
	t.Run("a target lost in mid-slew leaves its frequency and not the slew", func(t *testing.T) {
		l := newLoop(limits)
		l.oscillator, l.rate, l.target = 40_000, 5_000, 15e6
		l.run(40)
		if l.last.SlewPPB != 400_000 {
			t.Fatalf("not slewing: %+v", l.last)
		}
		l.blind = true
		l.run(1)
		got := l.last.FreqPPB.Or(math.NaN())
		if math.Abs(got-(-35_000)) > 50 {
			t.Errorf("coasts at %v ppb, want -35000", got)
		}
	})
}

func TestUnexplainedMoves(t *testing.T) {
	for _, c := range []struct {
		rule string
		move func(*loop)
		want float64
	}{
		{"nothing", func(*loop) {}, 0},
		{"a foreign step", func(l *loop) { l.clock += 20e6 }, 20e6},
		{"a small foreign step", func(l *loop) { l.clock -= 1e3 }, -1e3},
		{"our own step", func(l *loop) { l.clock += 20e6; l.servo.Stepped(20 * time.Millisecond) }, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			l := newLoop(limits)
			l.run(400)
			c.move(l)
			l.tick()
			if got := float64(l.last.Unexplained); math.Abs(got-c.want) > 100 {
				t.Errorf("unexplained %v ns, want %v", got, c.want)
			}
			l.run(400) // removes what was moved
			if _, peak := l.run(100); c.want < 1e6 && peak > 50 {
				t.Errorf("100 s later still %.0f ns off", peak)
			}
		})
	}
}

func TestAForeignSlewIsLearnt(t *testing.T) {
	l := newLoop(limits)
	l.run(400)
	l.oscillator = 100_000 // adjtime(3), say: a rate that no field of the kernel's state shows
	l.tick()
	l.tick()
	if l.last.Unexplained == 0 {
		t.Error("a rate of 100 ppm that nobody commanded is not reported")
	}
	l.run(100)
	if _, peak := l.run(100); peak > 50 {
		t.Errorf("25 s later still %.0f ns off", peak)
	}
}

func TestPropertyFrequencyStaysWithinTheLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		l := newLoop(limits)
		for range 100 {
			l.target, l.rate = 1e18*(rng.Float64()-0.5), 1e7*(rng.Float64()-0.5)
			l.clock += rng.NormFloat64() * 1e6
			l.blind = rng.IntN(4) == 0
			l.tick()
			if f := l.last.FreqPPB.Or(0); math.Abs(f) > 900_000 || math.IsNaN(f) {
				t.Fatalf("commands %v ppb", f)
			}
		}
	}
}

func TestDecadesOfOffsetKeepTheNanosecond(t *testing.T) {
	s := New(limits)
	const decades = 56 * 365 * 24 * time.Hour
	target := sources.Some(sources.Estimate{Offset: decades + 3})
	out := s.Step(Input{At: epoch, Target: target, Step: decades})
	if got := out.Remaining.Or(-1); got != 3 {
		t.Errorf("remaining %v after the step, want 3 ns", got)
	}
	s.Stepped(decades)
	out = s.Step(Input{At: epoch.Add(interval), System: decades, Target: target})
	if got := out.Error.Or(-1); got < 2 || got > 4 || out.Unexplained != 0 {
		t.Errorf("error %v, unexplained %v; want about 3 ns, and nothing", got, out.Unexplained)
	}
}
