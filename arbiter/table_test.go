package arbiter

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

func TestEligibilityIsTestedInTheOrderOfTheStates(t *testing.T) {
	now := timescale.Instant(1e18)
	good := sources.Estimate{Bound: time.Millisecond, Jitter: time.Microsecond, Samples: 9, LastSample: now}
	edit := func(f func(*sources.Estimate)) sources.Optional[sources.Estimate] {
		e := good
		f(&e)
		return sources.Some(e)
	}
	report := func(c sources.Condition) sources.Optional[sources.Report] {
		return sources.Some(sources.Report{Condition: c})
	}
	tests := []struct {
		rule string
		c    Candidate
		want State
	}{
		{"good", Candidate{Report: report(sources.Measuring), Estimate: sources.Some(good)}, 0},
		{"good before its first report", Candidate{Estimate: sources.Some(good)}, 0},
		{"never heard of", Candidate{}, Unreachable},
		{"no sample yet", Candidate{Report: report(sources.Measuring)}, Unreachable},
		{"unreachable with a fresh sample", Candidate{Report: report(sources.Unreachable), Estimate: sources.Some(good)}, Unreachable},
		{"unsynchronised with a fresh sample", Candidate{Report: report(sources.Unsynchronised), Estimate: sources.Some(good)}, Unsynchronised},
		{"not a number", Candidate{Estimate: edit(func(e *sources.Estimate) { e.FreqPPB = math.NaN() })}, Unsynchronised},
		{"offset of 200 years", Candidate{Estimate: edit(func(e *sources.Estimate) { e.Offset = math.MinInt64 })}, Unsynchronised},
		{"NTP at its age limit", Candidate{Kind: sources.NTP, Estimate: edit(func(e *sources.Estimate) { e.LastSample = now.Add(-256 * time.Second) })}, 0},
		{"NTP beyond it", Candidate{Kind: sources.NTP, Estimate: edit(func(e *sources.Estimate) { e.LastSample = now.Add(-257 * time.Second) })}, Stale},
		{"PTP beyond it", Candidate{Kind: sources.PTP, Estimate: edit(func(e *sources.Estimate) { e.LastSample = now.Add(-5 * time.Second) })}, Stale},
		{"its own age limit", Candidate{Options: Options{MaxAge: time.Second}, Estimate: edit(func(e *sources.Estimate) { e.LastSample = now.Add(-2 * time.Second) })}, Stale},
		{"sample of the future is not old", Candidate{Estimate: edit(func(e *sources.Estimate) { e.LastSample = now.Add(time.Hour) })}, 0},
		{"jittery before distant", Candidate{Estimate: edit(func(e *sources.Estimate) { e.Jitter, e.Bound = time.Second, 2*time.Second })}, Jittery},
		{"distant", Candidate{Estimate: edit(func(e *sources.Estimate) { e.Bound = 2 * time.Second })}, Distant},
		{"distant by its floor", Candidate{Options: Options{Floor: 2 * time.Second}, Estimate: sources.Some(good)}, Distant},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			a := New(DefaultConfig())
			r := &round{in: Input{Now: now, Candidates: []Candidate{tt.c}}}
			a.look(r)
			a.admit(r)
			if got := r.views[0]; got.state != tt.want || got.state != 0 && got.reason == "" {
				t.Errorf("state %v %q, want %v", got.state, got.reason, tt.want)
			}
		})
	}
}

func TestIntersection(t *testing.T) {
	type iv struct {
		lo, hi time.Duration
		trust  bool
	}
	tests := []struct {
		rule     string
		in       []iv
		majority bool
		true     []bool
	}{
		{"one is its own majority", []iv{{0, 10, false}}, true, []bool{true}},
		{"two that overlap", []iv{{0, 10, false}, {8, 20, false}}, true, []bool{true, true}},
		{"two that touch", []iv{{0, 10, false}, {10, 20, false}}, true, []bool{true, true}},
		{"two apart", []iv{{0, 10, false}, {11, 20, false}}, false, nil},
		{"two against one", []iv{{0, 10, false}, {5, 15, false}, {30, 40, false}}, true, []bool{true, true, false}},
		{"two against two", []iv{{0, 10, false}, {0, 10, false}, {30, 40, false}, {30, 40, false}}, false, nil},
		{"a wide one agrees with both sides of a dispute", []iv{{0, 10, false}, {0, 100, false}, {90, 100, false}}, true, []bool{false, true, false}},
		{"a part of the overlap is not enough", []iv{{0, 10, false}, {-5, 0, false}, {0, 10, false}, {10, 15, false}}, true, []bool{true, false, true, false}},
		{"one trusted outvotes two", []iv{{0, 10, true}, {30, 40, false}, {30, 40, false}}, true, []bool{true, false, false}},
		{"trusted against each other", []iv{{0, 10, true}, {30, 40, true}, {30, 40, false}}, false, nil},
		{"a point is an interval", []iv{{5, 5, false}, {0, 10, false}, {20, 30, false}}, true, []bool{true, true, false}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			var views []view
			for _, iv := range tt.in {
				views = append(views, view{Candidate: &Candidate{Options: Options{Trust: iv.trust}}, offset: (iv.lo + iv.hi) * 50, bound: (iv.hi - iv.lo) * 50})
			}
			n := new(Arbiter).count(views)
			if n.majority() != tt.majority {
				t.Fatalf("majority %v: %+v", n.majority(), n)
			}
			var got []bool
			for i := range views {
				if tt.majority {
					got = append(got, n.covers(&views[i]))
				}
			}
			if d := cmp.Diff(tt.true, got); d != "" {
				t.Errorf("truechimers (-want +got):\n%s", d)
			}
		})
	}
}

func TestUTCMultiple(t *testing.T) {
	tests := []struct {
		diff, bound time.Duration
		want        int64
	}{
		{0, time.Millisecond, 0},
		{37 * time.Second, time.Millisecond, 1},
		{-37*time.Second + 20*time.Millisecond, time.Millisecond, -1},
		{74 * time.Second, time.Millisecond, 2},
		{111 * time.Second, time.Millisecond, 0},
		{36 * time.Second, time.Millisecond, 0},
		{37*time.Second + 200*time.Millisecond, 100 * time.Millisecond, 1},
		{25 * time.Second, time.Hour, 0},
		{math.MaxInt64, time.Second, 0},
	}
	for _, tt := range tests {
		p := &view{Candidate: &Candidate{Kind: sources.PTP}, offset: tt.diff, bound: tt.bound}
		n := &view{Candidate: &Candidate{Kind: sources.NTP}, bound: tt.bound}
		if got := utcMultiple(p, n); got != tt.want {
			t.Errorf("%v +-%v: %d, want %d", tt.diff, tt.bound, got, tt.want)
		}
	}
}

// TestAdvertisedQualityIsOnlyAHint: it decides between equals and never against a fifth of the bound.
func TestAdvertisedQualityIsOnlyAHint(t *testing.T) {
	make := func(kind sources.Kind, bound time.Duration, q sources.Quality) *view {
		return &view{Candidate: &Candidate{Kind: kind}, report: &sources.Report{Quality: q}, bound: bound}
	}
	gps := sources.Quality{ClockClass: sources.Some[uint8](6), StepsRemoved: sources.Some[uint16](1)}
	free := sources.Quality{ClockClass: sources.Some[uint8](248), StepsRemoved: sources.Some[uint16](1)}
	if score(make(sources.PTP, 100, gps)) >= score(make(sources.PTP, 100, free)) {
		t.Error("class 6 does not beat class 248 at the same bound")
	}
	if score(make(sources.PTP, 1200, gps)) <= score(make(sources.PTP, 1000, free)) {
		t.Error("class 6 beats a bound that is a sixth smaller")
	}
	one := sources.Quality{Stratum: sources.Some[uint8](1)}
	nine := sources.Quality{Stratum: sources.Some[uint8](9)}
	if score(make(sources.NTP, 100, one)) >= score(make(sources.NTP, 100, nine)) {
		t.Error("stratum 1 does not beat stratum 9 at the same bound")
	}
}

func TestStatesHaveOneMarkAndReadBack(t *testing.T) {
	seen := map[byte]State{}
	for s := Unreachable; s <= Selected; s++ {
		if other, twice := seen[s.Mark()]; twice || s.Mark() == ' ' {
			t.Errorf("%v and %v share the mark %q", s, other, s.Mark())
		}
		seen[s.Mark()] = s
		text, _ := s.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%v reads back as %v, %v", s, back, err)
		}
	}
	var s State
	if err := s.UnmarshalText([]byte("excellent")); err == nil {
		t.Error("an unknown state is read")
	}
}

// TestStepIsNotOrderedTwice: the next observation of the clock may still be from before the step.
func TestStepIsNotOrderedTwice(t *testing.T) {
	a := New(DefaultConfig())
	steps := 0
	for i := range 5 {
		now := timescale.Instant(1e18).Add(time.Duration(i) * 250 * time.Millisecond)
		e := sources.Estimate{At: now, Offset: time.Second, Bound: time.Millisecond, Track: 1, Samples: 9, LastSample: now}
		d := a.Step(Input{Now: now, Candidates: []Candidate{{ID: "ntp:a", Kind: sources.NTP, Estimate: sources.Some(e)}}})
		if d.Step.Present() {
			steps++
		}
		if want := 1 + i/4; steps != want {
			t.Errorf("after %v: %d steps, want %d", time.Duration(i)*250*time.Millisecond, steps, want)
		}
	}
}
