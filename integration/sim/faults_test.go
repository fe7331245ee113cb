package sim

import (
	"math"
	"testing"
	"time"

	"clockarbiter/sources"
)

// quiet is a scenario without any noise: what happens in it is the fault.
func quiet(faults ...Fault) Scenario {
	return Scenario{
		Seed: 1, Duration: Duration(3 * time.Minute),
		Sources: []SourceSpec{
			{ID: phcID, Kind: PHC, Interval: Duration(time.Second), Grandmaster: "a", ClockClass: 6},
			{ID: "ntp:a", Kind: NTPServer, Interval: Duration(4 * time.Second), Path: PathSpec{Delay: Duration(100 * time.Microsecond)}},
			{ID: "ntp:b", Kind: NTPServer, Interval: Duration(4 * time.Second), Path: PathSpec{Delay: Duration(100 * time.Microsecond)}},
		},
		Faults: faults,
	}
}

// TestFaults: each fault does what its name says, as seen from the source's newest samples.
func TestFaults(t *testing.T) {
	const at = Duration(time.Minute)
	value := func(v any, ok bool) any {
		if !ok {
			return nil
		}
		return v
	}
	tests := []struct {
		fault Fault
		want  func(*world) (got, want any)
	}{
		{Fault{Kind: FaultDie, Source: phcID}, func(w *world) (any, any) {
			s, _ := w.host.roster.Find(phcID)
			r, _ := s.Report.Get()
			return r.Condition, sources.Unreachable
		}},
		{Fault{Kind: FaultHang, Source: phcID}, func(w *world) (any, any) {
			s, _ := w.host.roster.Find(phcID)
			e, _ := s.Tracker.Estimate(instant(float64(w.now)))
			return e.At.Sub(e.LastSample) > 100*time.Second, true
		}},
		{Fault{Kind: FaultLie, Source: phcID, Offset: Duration(time.Millisecond)}, func(w *world) (any, any) { return w.seen(phcID), 1e6 }},
		{Fault{Kind: FaultRamp, Source: phcID, Value: 1000, For: Duration(20 * time.Second)}, func(w *world) (any, any) { return w.seen(phcID), 20e3 }},
		{Fault{Kind: FaultUTCOffset, Source: phcID, Value: -1}, func(w *world) (any, any) { return w.seen(phcID), -37e9 }},
		{Fault{Kind: FaultAsymmetry, Source: "ntp:a", Offset: Duration(20 * time.Microsecond)}, func(w *world) (any, any) { return w.seen("ntp:a"), 10e3 }},
		{Fault{Kind: FaultFrequency, Value: 500}, func(w *world) (any, any) { return math.Round(w.oscillator.Phase(w.now)/100) * 100, 60e3 }},
		{Fault{Kind: FaultRoute, Source: "ntp:a", Offset: Duration(time.Millisecond)}, func(w *world) (any, any) {
			s, _ := w.host.roster.Find("ntp:a")
			return value(s.Delay.Get()), 2 * time.Millisecond
		}},
		{Fault{Kind: FaultClass, Source: phcID, Value: 7}, func(w *world) (any, any) {
			return value(w.quality(phcID).ClockClass.Get()), uint8(7)
		}},
		{Fault{Kind: FaultAccuracy, Source: phcID, Offset: 250}, func(w *world) (any, any) {
			return value(w.quality(phcID).ClockAccuracy.Get()), time.Duration(250)
		}},
		{Fault{Kind: FaultLeap, Source: "ntp:a", Value: 1}, func(w *world) (any, any) {
			return value(w.quality("ntp:a").Leap.Get()), sources.LeapInsert
		}},
		{Fault{Kind: FaultGrandmaster, Source: phcID, Name: "b"}, func(w *world) (any, any) { return w.quality(phcID).Reference, "b" }},
	}
	for _, tt := range tests {
		t.Run(string(tt.fault.Kind), func(t *testing.T) {
			tt.fault.At = at
			w := newWorld(quiet(tt.fault))
			w.queue.runUntil(Elapsed(3 * time.Minute))
			if got, want := tt.want(w); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// seen is what a sample of the source taken now says more than the truth, ns.
func (w *world) seen(id sources.ID) float64 {
	s, _ := w.host.roster.Find(id)
	e, _ := s.Tracker.Estimate(instant(w.l(w.now)))
	return math.Round((float64(e.Offset)+w.oscillator.Phase(w.now))/100) * 100
}

func (w *world) quality(id sources.ID) sources.Quality {
	s, _ := w.host.roster.Find(id)
	return s.Tracker.Quality()
}

func TestAPausedHostDoesNothingAndTakesWhatWaits(t *testing.T) {
	s := quiet(Fault{At: Duration(time.Minute), Kind: FaultPause, For: Duration(10 * time.Second)})
	w := newWorld(s)
	w.queue.runUntil(Elapsed(69 * time.Second))
	before := w.host.decision.Number
	src, _ := w.host.roster.Find(phcID)
	e, _ := src.Tracker.Estimate(instant(float64(w.now)))
	if e.Samples > 61 {
		t.Errorf("%d samples during the pause", e.Samples)
	}
	w.queue.runUntil(Elapsed(71 * time.Second))
	if e, _ := src.Tracker.Estimate(instant(float64(w.now))); e.Samples < 70 || w.host.decision.Number == before {
		t.Errorf("%d samples, decision %d after the pause, %d before", e.Samples, w.host.decision.Number, before)
	}
}

func TestTheOutcomeOfAFaultIsSummedUp(t *testing.T) {
	r, err := Run(quiet(
		Fault{At: Duration(time.Minute), Kind: FaultHang, Source: phcID},
		Fault{At: Duration(2 * time.Minute), Kind: FaultForeignStep, Offset: Duration(50 * time.Microsecond)},
	))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Faults) != 2 || r.Faults[0].FailOver == nil || *r.Faults[0].FailOver < 3 || *r.Faults[0].FailOver > 10 {
		t.Errorf("fail-over after a hang: %+v", r.Faults)
	}
	if got := r.Faults[1]; got.FailOver != nil || got.Transient < 20e3 || got.Transient > 60e3 {
		t.Errorf("after a foreign step of 50 us: %+v", got)
	}
}

func TestSuspendIsSurvived(t *testing.T) {
	s := quiet(Fault{At: Duration(time.Minute), Kind: FaultSuspend, For: Duration(30 * time.Second)})
	s.Assertions = []Assertion{{From: Duration(2 * time.Minute), To: Duration(3 * time.Minute), MaxError: Duration(time.Microsecond), Mode: "locked"}}
	r, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, why := range r.Broken {
		t.Error(why)
	}
}

func TestPeersReachTheirKnownFigures(t *testing.T) {
	const w = 1e-9
	r, err := RunWithPeers(benchPHC(1, w, Duration(time.Second), Duration(2*time.Hour)), []Peer{NewOracle(50, w), NewPI(0.7, 0.3, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	steady := func(i int) float64 { return r.Peers[i].Window(Elapsed(warmUp), Elapsed(2*time.Hour)).RMS() }
	// The steady state of the continuous filter: sqrt(2) R^(3/4) q^(1/4).
	near(t, "limit", steady(0), math.Sqrt(math.Sqrt2*math.Pow(2500, 0.75)), 0.1)
	near(t, "PI 0.7/0.3", steady(1), 47, 0.1)
}
