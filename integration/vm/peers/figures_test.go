package peers

import (
	"math"
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/vm"
)

// trace has a reading every 250 ms, whose errors f tells by the second since the begin.
func trace(from, seconds time.Duration, f func(s float64) float64) vm.Trace {
	var tr vm.Trace
	for at := time.Duration(0); at < seconds; at += 250 * time.Millisecond {
		tr = append(tr, vm.Reading{At: from + at, Error: time.Duration(f(at.Seconds()))})
	}
	return tr
}

func TestFiguresOfAKnownError(t *testing.T) {
	const begin = 40 * time.Second
	r := Run{
		Trace: trace(begin, 900*time.Second, func(s float64) float64 {
			switch {
			case s < 12.5:
				return 10e6
			case s < 300:
				return -500 // the clock is fast
			case s < 600:
				return 40 * math.Copysign(1, math.Sin(2*math.Pi*s/7))
			}
			return 3000 + s
		}),
		Began: begin + 500*time.Millisecond, Locked: begin + 300*time.Second, Fault: begin + 600*time.Second,
		CPU: 3 * time.Second, Memory: 7 << 20, Named: 2500 * time.Millisecond,
	}
	f := FiguresOf(r)
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"start", f.Start, 12}, {"RMS", f.RMS, 40}, {"99.9 %", f.P999, 40}, {"max", f.Max, 40},
		{"MTIE(10 s)", f.MTIE[1], 80}, {"after", f.After, 3899.75}, {"CPU per hour", f.CPU, 36}, {"named", f.Named, 2.5},
	} {
		if math.Abs(c.got-c.want) > 1 && math.Abs(c.got/c.want-1) > 0.001 {
			t.Errorf("%s: %g, want %g", c.what, c.got, c.want)
		}
	}
	if s := Series(r.Trace, begin+20*time.Second, begin+30*time.Second); len(s.Values) != 40 || s.Values[0] != 500 || s.Interval != 250_000_000 {
		t.Errorf("series of a fast clock: %d values, %g ns, interval %v", len(s.Values), s.Values[0], s.Interval)
	}
}

func TestTheStartOfAPeerIsTheMedianOfItsStarts(t *testing.T) {
	rs := new(Results)
	for i, s := range append(Starts(3), Scenarios()...) {
		good := []float64{30, 10, 200}[min(i, 2)] // never, within the time of a start
		rs.Add(Run{Peer: Clockarbiter, Scenario: s.Name, Fault: 120 * time.Second, Trace: trace(0, 150*time.Second, func(s float64) float64 {
			if s < good {
				return 2000
			}
			return 0
		})})
	}
	if got := rs.Start(Clockarbiter); math.Abs(got-30) > 1 {
		t.Errorf("median of 30 s, 10 s and never is %g s", got)
	}
}

func TestAStartThatDoesNotLast(t *testing.T) {
	r := Run{Fault: 200 * time.Second, Trace: trace(0, 300*time.Second, func(s float64) float64 {
		if s > 20 && s < 70 || s > 190 {
			return 0 // less than a minute, or after the fault
		}
		return 2000
	})}
	if got := StartOf(r); !math.IsNaN(got) {
		t.Errorf("start after %g s", got)
	}
}

func TestFloorIsAboutALine(t *testing.T) {
	r := Run{Trace: trace(time.Hour, 100*time.Second, func(s float64) float64 { return 1e6 + 50_000*s + 10*math.Copysign(1, math.Sin(20*s)) })}
	if rms, most := Floor(r); math.Abs(rms-10) > 1 || math.Abs(most-10) > 2 {
		t.Errorf("floor %g ns RMS, %g at most; want 10", rms, most)
	}
}

func TestARatioThatWasNotMeasuredDoesNotHold(t *testing.T) {
	for _, r := range new(Results).Ratios() {
		if r.Holds() {
			t.Errorf("%+v holds without a run", r)
		}
	}
}

// TestTheBestVariantIsBestInAllOfItsRuns: one that was lucky once is not.
func TestTheBestVariantIsBestInAllOfItsRuns(t *testing.T) {
	rs := new(Results)
	for i, s := range Steady() {
		lucky := []float64{1, 1, 100}[i]
		for peer, rms := range map[string]float64{Clockarbiter: 5, asChronyd + chronydVariants()[1].name: lucky, asChronyd + chronydVariants()[3].name: 10} {
			rs.Add(Run{Peer: peer, Scenario: s.Name, Trace: trace(0, 300*time.Second, func(float64) float64 { return rms }), Locked: 100 * time.Second, Fault: 300 * time.Second})
		}
	}
	ratios := rs.Ratios()
	if r := ratios[1]; r.Got != 0.5 || !strings.Contains(r.What, "("+chronydVariants()[3].name+")") {
		t.Errorf("%+v, want 0.5 of %s", r, chronydVariants()[3].name)
	}
	if r := ratios[0]; r.Holds() {
		t.Errorf("%+v holds without a run", r)
	}
}

func TestTheReportSaysWhatIsMissing(t *testing.T) {
	rs := new(Results)
	rs.Add(Run{Peer: Clockarbiter, Scenario: Death, Trace: trace(0, 900*time.Second, func(float64) float64 { return 5 }), Locked: 180 * time.Second, Fault: 480 * time.Second})
	var b strings.Builder
	if err := rs.Report(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"grandmaster dies: 5m0s locked and 7m0s after, instead of 5m0s and 10m0s (clockarbiter)", "everything lost: not run (clockarbiter; timemaster; ",
		"| locked: RMS | 5 ns | - | - | - | - |", "| locked, RMS, beside ptp4l and phc2sys | NaN x | 0.70 x | not measured |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, b.String())
		}
	}
}

func TestVersionsAreFoundInWhatProgramsSay(t *testing.T) {
	for line, want := range map[string]string{
		"chronyd (chrony) version 4.6.1 (+CMDMON)": "4.6.1", "4.2": "4.2", "clockarbiter version devel": "devel",
	} {
		if got := version(line); got != want {
			t.Errorf("%q: %q", line, got)
		}
	}
}
