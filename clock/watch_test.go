package clock

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// owned is a simulated machine whose clock a discipline owns, with the reading noise of a virtual
// machine: windows of 400 ns, and now and then an interruption of up to 2 s at any reading or write.
type owned struct {
	*fakeKernel
	system *System
	d      *Discipline
	rng    *rand.Rand
	pauses bool
	period time.Duration
	walk   float64 // ppb, of the target's rate
	at     timescale.Instant
	offset float64 // ns, of the target
	leap   sources.Leap
	// counted is what clock_adjtime adds to TAI - UTC between midnight and the tick that makes the leap second.
	counted int32
	found   []Intrusion
}

func newOwned(seed uint64) *owned {
	o := &owned{fakeKernel: newFakeKernel(), period: disciplineOptions.Interval, rng: rand.New(rand.NewPCG(seed, 9))}
	o.readTime = 300
	o.pause = o.interruption
	o.system = &System{host: o.host(), adj: o.late}
	o.system.host.siblings = &siblingClocks{o.readMonotonic, o.readBoottime}
	o.d = NewDiscipline(o.system, disciplineOptions)
	o.at = o.system.host.Now()
	return o
}

// interruption makes a bracket about 800 ns wide, anywhere about its middle.
func (o *owned) interruption() int64 {
	draw := o.rng.Uint32()
	if o.pauses && draw < 17_000 {
		return o.rng.Int64N(2e9)
	}
	return int64(draw % 200)
}

// late is a call of clock_adjtime that is interrupted before and after.
func (o *owned) late(t *unixTimex) error {
	o.spend()
	err := o.call(t)
	t.Tai += o.counted
	o.spend()
	return err
}

// atLook has something happen before the n-th look at any clock from now on, 0 the next. What is said last happens
// first at the same look.
func (o *owned) atLook(n int, do func()) {
	looks, before := 0, o.pause
	o.pause = func() int64 {
		if looks == n {
			do()
		}
		looks++
		return before()
	}
}

// tick follows a target that wanders and is measured with 300 ns of noise.
func (o *owned) tick(t *testing.T) {
	t.Helper()
	now := o.system.host.Now()
	dt := now.Sub(o.at).Seconds()
	o.walk += o.rng.NormFloat64() * 2 * math.Sqrt(dt)
	o.walk = max(-50_000, min(50_000, o.walk))
	o.offset += o.walk * dt
	o.at = now
	noise := o.rng.NormFloat64() * 300
	est := sources.Estimate{At: now, Offset: time.Duration(o.offset + noise), FreqPPB: o.walk + o.rng.NormFloat64()*20, OffsetSD: 300}
	in := TickInput{Target: sources.Some(est), Synchronised: true, Bound: time.Microsecond, Leap: o.leap}
	if _, err := o.d.Read(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.d.Tick(in); err != nil {
		t.Fatal(err)
	}
	o.found = append(o.found, o.d.Intrusions()...)
	o.advance(int64(o.period))
}

func (o *owned) run(t *testing.T, d time.Duration) {
	t.Helper()
	for end := o.raw + int64(d); o.raw < end; {
		o.tick(t)
	}
}

// strangers are the intrusions that are not the kernel's own doing.
func (o *owned) strangers() []Intrusion {
	var out []Intrusion
	for _, i := range o.found {
		if i.What.Stranger() {
			out = append(out, i)
		}
	}
	return out
}

func TestPropertyNoFalseAlarmInADay(t *testing.T) {
	const seed = 4
	o := newOwned(seed)
	o.pauses = true
	o.period = time.Second // a quarter of the work of the usual period, for the race detector's sake
	for hour := range 24 {
		o.run(t, time.Hour-time.Minute)
		switch hour % 6 {
		case 1:
			o.suspend(int64(time.Duration(o.rng.IntN(3600)+2) * time.Second))
		case 3: // a step of our own
			o.offset += float64(o.rng.IntN(2e9) - 1e9)
			if _, err := o.d.Read(); err != nil {
				t.Fatal(err)
			}
			if _, err := o.d.Tick(TickInput{Step: sources.Some(time.Duration(o.rng.Int64N(2e9) - 1e9))}); err != nil {
				t.Fatal(err)
			}
		}
		o.run(t, time.Minute)
	}
	for _, i := range o.strangers() {
		t.Errorf("seed %d: false alarm after %s: %s", seed, i.When.Sub(timescale.Instant(bootUTC)), i)
	}
	if len(o.found) != 4 {
		t.Errorf("%d moves recognised, want the 4 times asleep: %v", len(o.found), o.found)
	}
}

func TestWatchDetects(t *testing.T) {
	for _, c := range []struct {
		rule   string
		do     func(o *owned)
		within time.Duration
		what   What
		amount float64 // ns, or ppb
		error  float64
	}{
		{"a step of 1 us", func(o *owned) { o.step(1000) }, 1500 * time.Millisecond, StepMade, 1000, 500},
		{"a step back of 1 us", func(o *owned) { o.step(-1000) }, 1500 * time.Millisecond, StepMade, -1000, 500},
		{"a step of an hour", func(o *owned) { o.step(3600e9) }, 1500 * time.Millisecond, StepMade, 3600e9, 500},
		{"a step of a leap second that nobody armed", func(o *owned) { o.step(-1e9); o.t.Tai++ }, 1500 * time.Millisecond, StepMade, -1e9, 500},
		{"a slew of 0.1 ppm", func(o *owned) { o.twoClocks.adjtime = 0.1 }, 10 * time.Second, SlewMade, 100, 60},
		{"a slew of -0.1 ppm", func(o *owned) { o.twoClocks.adjtime = -0.1 }, 10 * time.Second, SlewMade, -100, 60},
		{"adjtime(3) at 500 ppm", func(o *owned) { o.twoClocks.adjtime = 500 }, 1500 * time.Millisecond, SlewMade, 5e5, 3e5},
		{"a frequency", func(o *owned) { o.t.Freq += 65536 * 3; o.ppm += 3 }, 1500 * time.Millisecond, FrequencyWritten, 3000, 0.1},
		{"a frequency of the least size", func(o *owned) { o.t.Freq--; o.ppm -= 1.0 / 65536 }, 1500 * time.Millisecond, FrequencyWritten, -1000.0 / 65536, 0.001},
		{"a tick", func(o *owned) { o.t.Tick++; o.ppm += 100 }, 1500 * time.Millisecond, FrequencyWritten, 100_000, 0.1},
		{"the kernel's PLL", func(o *owned) { o.t.Status |= staPLL; o.t.Offset = 5000 }, 1500 * time.Millisecond, SettingsWritten, 0, 0},
		{"TAI - UTC", func(o *owned) { o.t.Tai = 10 }, 1500 * time.Millisecond, SettingsWritten, 0, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for seed := range uint64(20) {
				o := newOwned(seed)
				o.run(t, 30*time.Second)
				if len(o.found) > 0 {
					t.Fatalf("seed %d: found before: %v", seed, o.found)
				}
				c.do(o)
				start := o.system.host.Now()
				o.run(t, c.within)
				if i, ok := first(o.found, c.what); !ok || i.When.Sub(start) > c.within || math.Abs(amountOf(i)-c.amount) > c.error {
					t.Errorf("seed %d: found %v, want a %s of %v within %s", seed, o.found, c.what, c.amount, c.within)
				}
			}
		})
	}
}

func first(found []Intrusion, w What) (Intrusion, bool) {
	for _, i := range found {
		if i.What == w {
			return i, true
		}
	}
	return Intrusion{}, false
}

func amountOf(i Intrusion) float64 {
	if i.What == StepMade {
		return float64(i.Amount)
	}
	return i.RatePPB
}

func TestWatchKnowsTheKernelsOwnMoves(t *testing.T) {
	for _, c := range []struct {
		rule string
		leap int32
		do   func(o *owned)
		what What
		by   time.Duration
	}{
		{"an inserted leap second", staINS, func(o *owned) { o.step(-1e9); o.t.Tai++ }, LeapSecond, -time.Second},
		{"a deleted leap second", staDEL, func(o *owned) { o.step(1e9); o.t.Tai-- }, LeapSecond, time.Second},
		{"a night asleep", 0, func(o *owned) { o.suspend(8 * 3600e9) }, Resumed, 8 * time.Hour},
		{"a step while asleep", 0, func(o *owned) { o.suspend(1e9); o.step(5e6) }, StepMade, 5 * time.Millisecond},
	} {
		t.Run(c.rule, func(t *testing.T) {
			o := newOwned(3)
			o.t.Tai = 37
			o.run(t, 5*time.Second)
			if _, err := o.d.Tick(TickInput{Leap: leapOf(c.leap)}); err != nil {
				t.Fatal(err)
			}
			if _, err := o.d.Read(); err != nil {
				t.Fatal(err)
			}
			c.do(o)
			o.run(t, 30*time.Second)
			i, ok := first(o.found, c.what)
			if !ok || (i.Amount-c.by).Abs() > 2*time.Microsecond {
				t.Errorf("found %v, want a %s of %s", o.found, c.what, c.by)
			}
			if c.what != StepMade && len(o.strangers()) > 0 {
				t.Errorf("a stranger is blamed: %v", o.strangers())
			}
		})
	}
}

// From midnight on clock_adjtime counts the leap second in TAI - UTC; the clock makes it with the next tick. Midnight
// and tick may fall between any two looks at any of the clocks.
func TestALeapSecondIsTheKernelsWhereverReadingsFall(t *testing.T) {
	for _, leap := range []sources.Leap{sources.LeapInsert, sources.LeapDelete} {
		by := leapStep(leap)
		const looksOfATick = 120
		for midnight := range 2 * looksOfATick {
			for _, later := range []int{0, 1, 2, 5, 20, 50, looksOfATick} {
				o := newOwned(5)
				o.leap, o.t.Tai = leap, 37
				o.run(t, 2*time.Second)
				o.atLook(midnight+later, func() {
					o.step(int64(by))
					o.t.Tai, o.counted = o.t.Tai+o.counted, 0
				})
				o.atLook(midnight, func() { o.counted = -int32(by / time.Second) })
				o.run(t, 3*time.Second)
				if len(o.found) != 1 || o.found[0].What != LeapSecond || o.found[0].Amount != by {
					t.Fatalf("%v at look %d, the tick %d looks later: found %v", leap, midnight, later, o.found)
				}
			}
		}
	}
}

func TestASleepIsTheMachinesWhereverItFalls(t *testing.T) {
	const looksOfATick = 120
	for asleep := range 2 * looksOfATick {
		o := newOwned(6)
		o.run(t, 2*time.Second)
		o.atLook(asleep, func() { o.suspend(int64(time.Hour)) })
		o.run(t, 3*time.Second)
		if len(o.found) != 1 || o.found[0].What != Resumed {
			t.Fatalf("at look %d: found %v", asleep, o.found)
		}
	}
}

// A step that is in the offset before it is known to be a stranger's would be corrected by the owner, and then taken
// back again.
func TestAStrangersStepIsKnownWhenTheOffsetShowsIt(t *testing.T) {
	const looksOfAReading = 60
	for at := range looksOfAReading {
		o := newOwned(7)
		o.run(t, 2*time.Second)
		o.atLook(at, func() { o.step(int64(time.Second)) })
		r, err := o.d.Read()
		if err != nil {
			t.Fatal(err)
		}
		if known := o.d.Intrusions(); r.Offset > time.Second/2 && len(known) != 1 {
			t.Fatalf("at look %d: the offset is %v, known: %v", at, r.Offset, known)
		}
	}
}

func TestWatchSeesOneStrangerOnce(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(s Stranger) error
	}{
		{"step", func(s Stranger) error { s.Step(50 * time.Microsecond); return nil }},
		{"frequency", func(s Stranger) error { return s.SetFrequency(1e5) }},
	} {
		t.Run(c.rule, func(t *testing.T) {
			h := newHand()
			v := NewVirtual(h.now, 0, 40_000)
			d := NewDiscipline(v, disciplineOptions)
			var found []Intrusion
			for n := range 200 {
				if n == 100 {
					if err := c.do(v.Stranger()); err != nil {
						t.Fatal(err)
					}
				}
				mustTick(t, d, TickInput{Target: target(h, 0, 0), Bound: time.Microsecond, Synchronised: true})
				found = append(found, d.Intrusions()...)
				h.advance(disciplineOptions.Interval)
			}
			if len(found) != 1 || found[0].What.String() != c.rule {
				t.Errorf("found %v, want one %s", found, c.rule)
			}
		})
	}
}

func TestUndoTakesAStepBackToTheNanosecond(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 40_000)
	d := NewDiscipline(v, disciplineOptions)
	tick := func() TickReport {
		h.advance(disciplineOptions.Interval)
		return mustTick(t, d, TickInput{Target: target(h, 0, 0), Bound: time.Microsecond, Synchronised: true})
	}
	for range 100 {
		tick()
	}
	v.Stranger().Step(time.Hour)
	if err := v.Stranger().Slew(5e5); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(); err != nil {
		t.Fatal(err)
	}
	found := d.Intrusions()
	if len(found) != 1 || found[0].Amount != time.Hour {
		t.Fatalf("found %v", found)
	}
	if err := d.Undo(found[0].Amount, 0); err != nil {
		t.Fatal(err)
	}
	r, err := d.Read()
	if err != nil || !r.Synchronised || r.MaxError > 3*time.Microsecond {
		t.Errorf("after the step was taken back: synchronised %v, maxerror %s, %v", r.Synchronised, r.MaxError, err)
	}
	for range 20 {
		report := tick()
		if e := report.Servo.Error.Or(time.Hour).Abs(); e > 20 || report.Servo.Unexplained != 0 {
			t.Fatalf("error %s, unexplained %s after the step was taken back", e, report.Servo.Unexplained)
		}
	}
	if found := d.Intrusions(); len(found) > 0 {
		t.Errorf("our own remedy counts as foreign: %v", found)
	}
}

func TestUndoRestoresTheFrequencyThatNobodyKnowsBetter(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 40_000)
	d := NewDiscipline(v, disciplineOptions)
	for range 4 {
		mustTick(t, d, TickInput{}) // no source: the frequency is as found
		h.advance(disciplineOptions.Interval)
	}
	if err := v.Stranger().SetFrequency(650_000); err != nil { // of which the tick has a part
		t.Fatal(err)
	}
	if _, err := d.Read(); err != nil {
		t.Fatal(err)
	}
	if err := d.Undo(0, d.Intrusions()[0].RatePPB); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Read(); err != nil || r.FreqPPB != 0 || len(d.Intrusions()) > 0 {
		t.Errorf("frequency %v ppb, %v; want 0 and our own write not seen as foreign", r.FreqPPB, err)
	}
}

func TestSystemReclaimEndsAForeignSlew(t *testing.T) {
	o := newOwned(1)
	o.run(t, 5*time.Second)
	o.twoClocks.adjtime, o.t.Offset = 500, 9000
	if err := o.d.Undo(0, 0); err != nil {
		t.Fatal(err)
	}
	o.tick(t)
	if o.twoClocks.adjtime != 0 || o.t.Offset != 0 || o.t.Status&staPLL != 0 {
		t.Errorf("adjtime %v ppm, PLL offset %d, status %#x after the reclaim", o.twoClocks.adjtime, o.t.Offset, o.t.Status)
	}
}

func TestHoldWritesNothing(t *testing.T) {
	o := newOwned(1)
	o.run(t, 5*time.Second)
	calls := func() (writes int) {
		for _, m := range o.calls {
			if m != 0 {
				writes++
			}
		}
		return writes
	}
	before := calls()
	r := mustTick(t, o.d, TickInput{Target: sources.Some(sources.Estimate{At: o.system.host.Now(), Offset: time.Millisecond}), Hold: true})
	if err := o.d.Release(); err != nil {
		t.Fatal(err)
	}
	if r.Applied || !r.Command.FreqPPB.Present() || calls() != before {
		t.Errorf("on hold: applied %v, %d writes", r.Applied, calls()-before)
	}
}

func TestIntrusionsAreBounded(t *testing.T) {
	h := newHand()
	v := NewVirtual(h.now, 0, 0)
	d := NewDiscipline(v, disciplineOptions)
	for range 1000 {
		v.Stranger().Step(time.Millisecond)
		if _, err := d.Read(); err != nil {
			t.Fatal(err)
		}
		h.advance(time.Second)
	}
	if n := len(d.Intrusions()); n != maxIntrusions {
		t.Errorf("%d wait, want %d", n, maxIntrusions)
	}
}

func TestIntrusionInWords(t *testing.T) {
	for _, c := range []struct {
		in   Intrusion
		want string
	}{
		{Intrusion{What: StepMade, Amount: -1500, Evidence: "seen"}, "step of -0.000001500 s (seen)"},
		{Intrusion{What: SlewMade, RatePPB: 100, Evidence: "seen"}, "slew of +0.100 ppm (seen)"},
		{Intrusion{What: SettingsWritten, Evidence: "tai 37 -> 0"}, "settings (tai 37 -> 0)"},
	} {
		if got := c.in.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if s := fmt.Sprint(What(0)); !strings.Contains(s, "0") {
		t.Errorf("unknown kind is %q", s)
	}
}

func BenchmarkDisciplineRead(b *testing.B) {
	o := newOwned(1)
	for b.Loop() {
		o.advance(int64(disciplineOptions.Interval))
		if _, err := o.d.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
