package arbiter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// stage is a host with sources whose figures a test sets by hand; seconds pass with next.
type stage struct {
	arb *Arbiter
	in  Input
	d   Decision
}

func newStage(cfg Config, now timescale.Instant, ids ...sources.ID) *stage {
	s := &stage{arb: New(cfg), in: Input{Now: now}}
	for _, id := range ids {
		kind := sources.NTP
		if id[0] == 'p' {
			kind = sources.PTP
		}
		c := Candidate{ID: id, Kind: kind}
		c.Estimate = sources.Some(sources.Estimate{
			At: now, Bound: time.Millisecond, OffsetSD: time.Microsecond, FreqSDPPB: 1, WanderPPB: 1, Jitter: 5 * time.Microsecond, Track: 1,
			Terms: sources.Terms{PathAsymmetry: time.Millisecond},
		})
		c.Report = sources.Some(sources.Report{Source: id, Condition: sources.Measuring})
		s.in.Candidates = append(s.in.Candidates, c)
	}
	return s
}

// estimate changes what is known of a source.
func (s *stage) estimate(i int, f func(*sources.Estimate)) {
	e, _ := s.in.Candidates[i].Estimate.Get()
	f(&e)
	s.in.Candidates[i].Estimate = sources.Some(e)
}

// quality changes what a source says of itself.
func (s *stage) quality(i int, f func(*sources.Quality)) {
	r, _ := s.in.Candidates[i].Report.Get()
	f(&r.Quality)
	s.in.Candidates[i].Report = sources.Some(r)
}

// next lets n seconds pass with a new sample of every source in each.
func (s *stage) next(n int) *stage {
	for range n {
		s.in.Now = s.in.Now.Add(time.Second)
		for i := range s.in.Candidates {
			c := &s.in.Candidates[i]
			s.estimate(i, func(e *sources.Estimate) {
				e.At, e.LastSample = s.in.Now, s.in.Now
				e.Samples++
				c.Newest = sources.Some(sources.Sample{Source: c.ID, At: s.in.Now, Offset: e.Offset, Delay: sources.Some(2 * time.Millisecond)})
			})
		}
		s.d = s.arb.Step(s.in)
	}
	return s
}

func (s *stage) names(fault string, id sources.ID) bool {
	return slices.ContainsFunc(s.d.Faults, func(f Fault) bool { return f.Name == fault && f.Source == id && f.Evidence != "" })
}

const noon = timescale.Instant(1_782_820_800_000_000_000) // 2026-06-30T12:00:00Z

func TestLeapIsWhatTheSurvivorsAnnounceOnItsDay(t *testing.T) {
	announce := func(l sources.Leap) func(*sources.Quality) {
		return func(q *sources.Quality) { q.Leap = sources.Some(l) }
	}
	tests := []struct {
		rule     string
		now      timescale.Instant
		says     []sources.Leap
		want     sources.Leap
		disagree bool
	}{
		{"all announce", noon, []sources.Leap{sources.LeapInsert, sources.LeapInsert, sources.LeapInsert}, sources.LeapInsert, false},
		{"the day before", noon.Add(-24 * time.Hour), []sources.Leap{sources.LeapInsert, sources.LeapInsert, sources.LeapInsert}, sources.LeapNone, false},
		{"one of three", noon, []sources.Leap{sources.LeapInsert, sources.LeapNone, sources.LeapNone}, sources.LeapNone, true},
		{"two of three", noon, []sources.Leap{sources.LeapInsert, sources.LeapInsert, sources.LeapNone}, sources.LeapInsert, true},
		{"one each", noon, []sources.Leap{sources.LeapInsert, sources.LeapDelete, sources.LeapNone}, sources.LeapNone, true},
		{"a second less", noon, []sources.Leap{sources.LeapDelete, sources.LeapDelete, sources.LeapDelete}, sources.LeapDelete, false},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			s := newStage(DefaultConfig(), tt.now, "ntp:a", "ntp:b", "ntp:c")
			for i, l := range tt.says {
				s.quality(i, announce(l))
			}
			s.next(6)
			if s.d.Leap != tt.want {
				t.Errorf("leap %v, want %v", s.d.Leap, tt.want)
			}
			if got := s.names(FaultLeap, ""); got != tt.disagree {
				t.Errorf("disagreement named: %v, want %v", got, tt.disagree)
			}
		})
	}
}

func TestTheKernelsLeapIsNoJumpOfTheSources(t *testing.T) {
	s := newStage(DefaultConfig(), noon.Add(12*time.Hour-20*time.Second), "ntp:a", "ntp:b", "ptp:eth0")
	for i := range 3 {
		s.quality(i, func(q *sources.Quality) { q.Leap = sources.Some(sources.LeapInsert) })
	}
	s.next(15)
	if s.d.Leap != sources.LeapInsert {
		t.Fatal("the leap second is not armed")
	}
	s.in.System = -time.Second // the kernel inserted it
	s.next(1)
	target, ok := s.d.Target.Get()
	if !ok || magnitude(target.Offset+time.Second) > time.Millisecond {
		t.Errorf("target %v after the leap second, want 1 s less: %s", target.Offset, s.d.Reason)
	}
	for i := range 3 {
		s.estimate(i, func(e *sources.Estimate) { e.Offset, e.Track, e.Samples = -time.Second, 2, 3 })
	}
	s.next(10)
	for _, f := range s.d.Faults {
		t.Errorf("fault %s of %q: %s", f.Name, f.Source, f.Evidence)
	}
	if s.d.Mode != Locked || s.d.Step.Present() {
		t.Errorf("%v after the leap second: %s", s.d.Mode, s.d.Reason)
	}
}

func TestTAIIsWhatMostSurvivorsFlag(t *testing.T) {
	for _, tt := range []struct {
		rule string
		says []time.Duration
		want sources.Optional[time.Duration]
	}{
		{"nobody", nil, sources.None[time.Duration]()},
		{"one", []time.Duration{37 * time.Second}, sources.Some(37 * time.Second)},
		{"two against each other", []time.Duration{37 * time.Second, 36 * time.Second}, sources.None[time.Duration]()},
		{"two of three", []time.Duration{36 * time.Second, 37 * time.Second, 37 * time.Second}, sources.Some(37 * time.Second)},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newStage(DefaultConfig(), noon, "ptp:eth0", "ptp:eth1", "ptp:eth2")
			for i, tai := range tt.says {
				s.quality(i, func(q *sources.Quality) { q.UTCOffset = sources.Some(tai) })
			}
			if s.next(6); !s.d.TAI.Equal(tt.want) {
				t.Errorf("TAI - UTC %v, want %v", s.d.TAI, tt.want)
			}
		})
	}
}

// TestNamedFaults has one case for each fault that the simulator's scenarios do not reach.
func TestNamedFaults(t *testing.T) {
	cfg := DefaultConfig()
	cfg.NotBefore, cfg.NotAfter = noon.Add(-100*24*time.Hour), noon.Add(100*24*time.Hour)
	tests := []struct {
		fault string
		id    sources.ID
		clean bool // nothing of the kind is named
		do    func(*stage)
		state State // of the first source
	}{
		{FaultReset, "ptp:eth0", false, func(s *stage) {
			s.estimate(0, func(e *sources.Estimate) { e.Offset = -time.Duration(noon) + time.Hour })
		}, Unsynchronised},
		{FaultDate, "ptp:eth0", false, func(s *stage) {
			s.estimate(0, func(e *sources.Estimate) { e.Offset = 21 * 365 * 24 * time.Hour })
		}, Unsynchronised},
		{FaultLoop, "ntp:192.0.2.1", false, func(s *stage) {
			s.quality(1, func(q *sources.Quality) { q.Reference = "C0000202" })
			s.quality(2, func(q *sources.Quality) { q.Reference = "C0000201" })
		}, Selected},
		{FaultLoop, "ntp:192.0.2.1", true, func(s *stage) { // a chain is none
			s.quality(1, func(q *sources.Quality) { q.Reference = "C0000202" })
		}, Selected},
		{FaultFrozen, "ptp:eth0", false, func(s *stage) {
			stop := func(e *sources.Estimate) { e.Offset -= time.Second }
			for range 4 {
				s.estimate(0, stop)
				s.next(1)
			}
			s.estimate(0, stop)
		}, Unsynchronised},
		{FaultGrandmaster, "ptp:eth0", false, func(s *stage) {
			s.quality(0, func(q *sources.Quality) { q.Reference = "other" })
		}, Selected},
		{FaultDegraded, "ptp:eth0", false, func(s *stage) {
			s.quality(0, func(q *sources.Quality) { q.ClockClass = sources.Some[uint8](7) })
		}, Selected},
		{FaultPaused, "", false, func(s *stage) { s.in.Now = s.in.Now.Add(20 * time.Second) }, Selected},
		{FaultSmear, "ntp:192.0.2.1", false, func(s *stage) {
			s.estimate(1, func(e *sources.Estimate) { e.Offset, e.FreqPPB = 100*time.Millisecond, 11_570 })
		}, Selected},
		{FaultSmear, "ntp:192.0.2.1", true, func(s *stage) { // in the middle of a month
			s.in.Now = s.in.Now.Add(-12 * 24 * time.Hour)
			s.estimate(1, func(e *sources.Estimate) { e.Offset, e.FreqPPB = 100*time.Millisecond, 11_570 })
		}, Selected},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i, tt.fault), func(t *testing.T) {
			s := newStage(cfg, noon, "ptp:eth0", "ntp:192.0.2.1", "ntp:192.0.2.2", "ntp:192.0.2.3")
			s.estimate(0, func(e *sources.Estimate) { e.Bound = 10 * time.Microsecond })
			s.quality(0, func(q *sources.Quality) { q.Reference, q.ClockClass = "first", sources.Some[uint8](6) })
			s.next(8)
			for _, f := range s.d.Faults {
				t.Fatalf("fault %s of %q before anything happened: %s", f.Name, f.Source, f.Evidence)
			}
			tt.do(s)
			s.next(1)
			if s.names(tt.fault, tt.id) == tt.clean {
				t.Errorf("%s of %q named: %v; faults: %+v", tt.fault, tt.id, !tt.clean, s.d.Faults)
			}
			if got := s.d.Verdicts[0].State; got != tt.state {
				t.Errorf("%s is %v, want %v: %s", s.d.Verdicts[0].ID, got, tt.state, s.d.Verdicts[0].Reason)
			}
		})
	}
}

func TestSampleFromTheFutureIsNamed(t *testing.T) {
	s := newStage(DefaultConfig(), noon, "ptp:eth0").next(5)
	s.in.Candidates[0].Newest = sources.Some(sources.Sample{At: s.in.Now.Add(3 * time.Second)})
	if s.d = s.arb.Step(s.in); !s.names(FaultFuture, "ptp:eth0") {
		t.Errorf("faults: %+v", s.d.Faults)
	}
}

// taught is a host that followed a PTP source for a while, whose NTP server is off by bias.
func taught(cfg Config, bias time.Duration) *stage {
	s := newStage(cfg, noon, "ptp:eth0", "ntp:a")
	s.estimate(0, func(e *sources.Estimate) { e.Bound = time.Microsecond })
	s.estimate(1, func(e *sources.Estimate) { e.Offset = bias })
	return s.next(60)
}

func TestBias(t *testing.T) {
	t.Run("learnt from the better source and taken off in its place", func(t *testing.T) {
		s := taught(DefaultConfig(), 300*time.Microsecond)
		if got := s.d.Verdicts[1].Bias.Or(0); magnitude(got-300*time.Microsecond) > time.Microsecond {
			t.Fatalf("bias %v, want 300 us", got)
		}
		s.estimate(0, func(e *sources.Estimate) { e.Bound = time.Hour })
		s.next(6)
		if target, _ := s.d.Target.Get(); !s.d.Selected.Is("ntp:a") || magnitude(target.Offset) > 2*time.Microsecond {
			t.Errorf("%v: target %v, want 0", s.d.Selected, target.Offset)
		}
		if bound := s.d.Bound.Or(0); bound < 1299*time.Microsecond {
			t.Errorf("bound %v does not reach around the source's own interval", bound)
		}
	})
	t.Run("not more than its path can hide", func(t *testing.T) {
		cfg := DefaultConfig()
		s := newStage(cfg, noon, "ptp:eth0", "ntp:a")
		s.estimate(0, func(e *sources.Estimate) { e.Bound = time.Microsecond })
		s.estimate(1, func(e *sources.Estimate) {
			e.Offset, e.Terms.PathAsymmetry = 300*time.Microsecond, 100*time.Microsecond
		})
		if got := s.next(60).d.Verdicts[1].Bias.Or(0); got != 100*time.Microsecond {
			t.Errorf("bias %v, want 100 us", got)
		}
	})
	t.Run("not of a better source that is new", func(t *testing.T) {
		s := newStage(DefaultConfig(), noon, "ntp:a", "ptp:eth0")
		s.estimate(0, func(e *sources.Estimate) { e.Bound = 100 * time.Microsecond })
		s.estimate(1, func(e *sources.Estimate) {
			e.Offset, e.Terms.PathAsymmetry, e.OffsetSD = 9*time.Microsecond, 500*time.Nanosecond, 20
		})
		s.next(6)
		s.estimate(1, func(e *sources.Estimate) { e.Bound = time.Microsecond })
		s.next(60)
		if target, _ := s.d.Target.Get(); !s.d.Selected.Is("ptp:eth0") || target.Offset != 9*time.Microsecond || len(s.d.Combined) > 0 {
			t.Errorf("%v, combined %v: target %v, want the 9 us of PTP; verdicts %+v", s.d.Selected, s.d.Combined, target.Offset, s.d.Verdicts)
		}
	})
	t.Run("expires", func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.BiasMaxAge = 10 * time.Second
		s := taught(cfg, 300*time.Microsecond)
		s.estimate(0, func(e *sources.Estimate) { e.Bound = time.Hour })
		if got := s.next(20).d.Verdicts[1].Bias; got.Present() {
			t.Errorf("bias %v long after it was learnt", got)
		}
	})
	t.Run("switched off", func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.LearnBias = false
		if got := taught(cfg, 300*time.Microsecond).d.Verdicts[1].Bias; got.Present() {
			t.Errorf("bias %v", got)
		}
	})
}

// TestOneSampleIsEnoughToRemember lets the followed source jump while the only other one has a single sample, whose
// interval has grown wide since: the sample itself was where the followed source was.
func TestOneSampleIsEnoughToRemember(t *testing.T) {
	for _, heard := range []bool{true, false} {
		s := newStage(DefaultConfig(), noon, "ptp:eth0", "ntp:a")
		s.estimate(0, func(e *sources.Estimate) { e.Bound, e.OffsetSD, e.Jitter = time.Microsecond, 20, 50 })
		s.estimate(1, func(e *sources.Estimate) { e.Samples, e.LastSample, e.Bound = 1, noon, 20*time.Millisecond })
		only := sources.Sample{Source: "ntp:a", At: noon, Delay: sources.Some(200 * time.Microsecond)}
		tick := func() {
			s.in.Now = s.in.Now.Add(time.Second)
			s.estimate(0, func(e *sources.Estimate) { e.At, e.LastSample, e.Samples = s.in.Now, s.in.Now, e.Samples+1 })
			s.d = s.arb.Step(s.in)
		}
		if heard {
			s.in.Candidates[1].Newest = sources.Some(only)
		}
		for range 8 {
			tick()
		}
		s.estimate(0, func(e *sources.Estimate) { e.Track, e.Offset = e.Track+1, 5*time.Millisecond })
		tick()
		if got := s.d.Verdicts[0].State == Falseticker; got != heard {
			t.Errorf("one sample heard: %v; %+v", heard, s.d.Verdicts)
		}
	}
}

func TestWitnessSwitchedOffAndTrust(t *testing.T) {
	jump := func(cfg Config, trust bool) State {
		s := newStage(cfg, noon, "ptp:eth0", "ntp:a", "ntp:b")
		s.in.Candidates[0].Options.Trust = trust
		s.estimate(0, func(e *sources.Estimate) { e.Bound = 10 * time.Microsecond })
		s.next(20)
		s.estimate(0, func(e *sources.Estimate) { e.Offset, e.Track, e.Samples = 500*time.Microsecond, 2, 3 })
		return s.next(20).d.Verdicts[0].State
	}
	off := DefaultConfig()
	off.Witness = false
	if got := jump(DefaultConfig(), false); got != Falseticker {
		t.Errorf("a source that jumped within the others' intervals is %v", got)
	}
	if got := jump(off, false); got != Selected {
		t.Errorf("without the witness it is %v", got)
	}
	if got := jump(DefaultConfig(), true); got != Selected {
		t.Errorf("where it is trusted it is %v", got)
	}
}

func TestQuarantineEnds(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Quarantine = 30 * time.Second
	s := newStage(cfg, noon, "ptp:eth0", "ntp:a", "ntp:b")
	s.estimate(0, func(e *sources.Estimate) { e.Bound = 10 * time.Microsecond })
	s.next(20)
	s.estimate(0, func(e *sources.Estimate) { e.Offset, e.Track, e.Samples = 500*time.Microsecond, 2, 3 })
	if s.next(25); s.d.Verdicts[0].State != Falseticker {
		t.Errorf("%v in quarantine", s.d.Verdicts[0].State)
	}
	if s.next(25); s.d.Verdicts[0].State != Selected {
		t.Errorf("%v after it: %s", s.d.Verdicts[0].State, s.d.Verdicts[0].Reason)
	}
}

// TestReckoningKeepsItsCovariance whatever comes in.
func TestReckoningKeepsItsCovariance(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		var k reckoning
		k.adopt(sources.Estimate{
			At: noon, OffsetSD: time.Duration(math.Exp(40 * rng.Float64())), FreqPPB: math.Exp(600 * rng.Float64()),
			FreqSDPPB: math.Exp(300 * rng.Float64()), WanderPPB: math.Exp(300 * rng.Float64()),
		}, true)
		for range 100 {
			k.advance(k.at.Add(time.Duration(math.Exp(35 * rng.Float64()))))
			if rng.IntN(2) == 0 {
				k.correct((rng.Float64()-0.5)*math.Exp(40*rng.Float64()), math.Exp(40*rng.Float64()))
			}
			if !(k.pp > 0) || !(k.ff >= 0) || k.pf*k.pf > k.pp*k.ff*(1+1e-6) || math.IsNaN(k.phase) || math.Abs(k.freq) > maxRate {
				t.Fatalf("%+v", k)
			}
		}
	}
}

func TestReferenceIDOfAServer(t *testing.T) {
	for id, want := range map[sources.ID]string{
		"ntp:192.0.2.1": "C0000201", "ntp:pool.example.net/192.0.2.7": "C0000207", "ntp:example.net": "",
		"ntp:2001:db8::1": "", "ntp:1.2.3.4x": "", "ntp:1.2.3.400": "",
	} {
		if got := referenceOf(id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// A track that begins about where the one before ended is a spread that was taken for smaller than it is: nobody
// is blamed, and the source settles anew.
func TestANewTrackIsAJumpOnlyElsewhere(t *testing.T) {
	for _, tt := range []struct {
		by   time.Duration
		jump bool
	}{{15 * time.Microsecond, false}, {-15 * time.Microsecond, false}, {200 * time.Microsecond, true}, {-15 * time.Millisecond, true}} {
		s := newStage(DefaultConfig(), noon, "ntp:a", "ntp:b", "ntp:c").next(20)
		s.estimate(1, func(e *sources.Estimate) { e.Track, e.Samples, e.Offset = 2, 3, tt.by })
		s.next(1)
		b := s.d.Verdicts[1]
		if s.names(FaultJump, "ntp:b") != tt.jump {
			t.Errorf("%v: faults %v", tt.by, s.d.Faults)
		}
		if !tt.jump && (b.State != Settling || b.Reason != "0 of 4 samples since it began anew") {
			t.Errorf("%v: %v: %s", tt.by, b.State, b.Reason)
		}
		if s.next(4); s.d.Verdicts[1].State < Selectable && !tt.jump {
			t.Errorf("%v: %v: %s", tt.by, s.d.Verdicts[1].State, s.d.Verdicts[1].Reason)
		}
	}
}

// TestARateLearntOfANewSourceIsNoUsualOne: the oscillator did not change because a better source corrects what a few
// samples of another made of its rate.
func TestARateLearntOfANewSourceIsNoUsualOne(t *testing.T) {
	for _, tt := range []struct {
		rule    string
		samples int
		named   bool
	}{
		{"a source that is new", 2, false},
		{"one that is known", green, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			s := newStage(DefaultConfig(), noon, "ntp:a", "ptp:eth0")
			s.estimate(1, func(e *sources.Estimate) { e.Bound, e.OffsetSD = time.Microsecond, 10*time.Nanosecond })
			s.in.Candidates[1].Report = sources.Some(sources.Report{Source: "ptp:eth0", Condition: sources.Unreachable})
			run := func(n int, ntpPPB float64, first int) (named bool) {
				for k := range n {
					s.estimate(0, func(e *sources.Estimate) { e.FreqPPB, e.FreqSDPPB, e.Samples = ntpPPB, 100, first+k/8 })
					s.next(1)
					named = named || s.names(FaultRate, "")
				}
				return named
			}
			if run(90, 2000, tt.samples) || s.d.Mode != Locked {
				t.Fatalf("mode %v with %v", s.d.Mode, s.d.Faults)
			}
			s.in.Candidates[1].Report = sources.Some(sources.Report{Source: "ptp:eth0", Condition: sources.Measuring})
			named := run(90, 2000, tt.samples+12)
			if id, _ := s.d.Selected.Get(); id != "ptp:eth0" {
				t.Fatalf("%v is followed", id)
			}
			if named != tt.named {
				t.Errorf("a jump of the oscillator is named: %v, want %v", named, tt.named)
			}
		})
	}
}

// TestOneOfSeveralDoesNotBlameTheReference: a server that sees by far the sharpest and drifts alone is the one that does.
func TestOneOfSeveralDoesNotBlameTheReference(t *testing.T) {
	s := newStage(DefaultConfig(), noon, "ptp:eth0", "ntp:sharp", "ntp:b", "ntp:c")
	s.estimate(0, func(e *sources.Estimate) { e.Bound, e.OffsetSD = time.Microsecond, 10*time.Nanosecond })
	s.estimate(1, func(e *sources.Estimate) { e.Bound, e.Jitter = 100*time.Microsecond, 40*time.Microsecond })
	for _, blunt := range []int{2, 3} {
		s.estimate(blunt, func(e *sources.Estimate) { e.Jitter = 4 * time.Millisecond })
	}
	s.next(60)
	named := false
	for range 900 {
		s.estimate(1, func(e *sources.Estimate) { e.Offset += 20 * time.Nanosecond })
		s.next(1)
		named = named || s.names(FaultDrift, "ntp:sharp")
		if s.names(FaultDrift, "ptp:eth0") {
			t.Fatalf("the reference is blamed: %+v", s.d.Faults)
		}
	}
	if !named {
		t.Error("the server that drifts is not named")
	}
}
