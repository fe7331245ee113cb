package scenarios

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"clockarbiter/integration/sim"
	"clockarbiter/sources"
)

var figureSeeds = flag.Int("figures.seeds", 3, "number of seeds of each figure")

const (
	eth0  = sources.ID("ptp:eth0:0")
	onset = time.Hour
)

// network is the host of the figures: PTP of 50 ns at 1 Hz, four NTP servers of 1 ms and 100 us of jitter at
// 16 s, w = 1e-9. The asymmetries are those of the servers in turn.
func network(seed uint64, d time.Duration, asymmetry ...time.Duration) Scenario {
	s := Scenario{Scenario: sim.Scenario{
		Name: "figures", Seed: seed, Duration: sim.Duration(d),
		Oscillator: sim.OscillatorSpec{RandomWalkFM: 1e-9, FrequencyPPB: 12_000},
		Sources: []sim.SourceSpec{{
			ID: eth0, Kind: sim.PHC, Interval: sim.Duration(time.Second), Noise: 50, Dispersion: 20, ClockClass: 6, Grandmaster: "a", Prefer: true,
		}},
	}}
	for i := range 4 {
		path := sim.PathSpec{Delay: sim.Duration(time.Millisecond), Jitter: sim.Duration(100 * time.Microsecond)}
		if i < len(asymmetry) {
			path.Asymmetry = sim.Duration(asymmetry[i])
		}
		s.Sources = append(s.Sources, sim.SourceSpec{
			ID: sources.ID(fmt.Sprintf("ntp:%c", 'a'+i)), Kind: sim.NTPServer, Interval: sim.Duration(16 * time.Second),
			Start: sim.Duration(time.Duration(i) * 4 * time.Second), Burst: 4, Path: path,
		})
	}
	return s
}

func (s Scenario) with(f sim.Fault, expect ...Expectation) Scenario {
	f.At = sim.Duration(onset)
	s.Faults, s.Expectations = append(s.Faults, f), append(s.Expectations, expect...)
	return s
}

func after(d time.Duration) sim.Duration { return sim.Duration(onset + d) }

const us = sim.Duration(time.Microsecond)

// figures are the requirements on a PTP source that turns false and on what follows without it.
func figures(seed uint64) map[string]Scenario {
	from := after(0)
	out := map[string]Scenario{}
	for _, jump := range []time.Duration{500 * time.Microsecond, time.Millisecond, 15 * time.Millisecond, 37 * time.Second} {
		out["jump "+jump.String()] = network(seed, 2*time.Hour).with(sim.Fault{Kind: sim.FaultLie, Source: eth0, Offset: sim.Duration(jump)},
			Expectation{From: from, To: after(3 * time.Second), Fault: "jump", Source: eth0},
			Expectation{From: from, To: after(time.Hour), MaxError: 40 * us})
	}
	out["ramp of 100 ns/s"] = network(seed, 2*time.Hour).with(sim.Fault{Kind: sim.FaultRamp, Source: eth0, Value: 100, For: sim.Duration(time.Hour)},
		Expectation{From: from, To: after(2000 * time.Second), Fault: "drift", Source: eth0, MaxError: 100 * us})
	out["drift of 50 ppb"] = network(seed, 2*time.Hour).with(sim.Fault{Kind: sim.FaultRamp, Source: eth0, Value: 50, For: sim.Duration(2000 * time.Second)},
		Expectation{From: from, To: after(1200 * time.Second), Fault: "drift", Source: eth0},
		Expectation{From: from, To: after(time.Hour), MaxError: 80 * us})
	out["silence"] = network(seed, onset+2000*time.Second, 200*time.Microsecond, -100*time.Microsecond, 50*time.Microsecond).with(
		sim.Fault{Kind: sim.FaultHang, Source: eth0},
		Expectation{From: from, To: after(1000 * time.Second), MaxError: 15 * us},
		Expectation{From: from, To: after(2000 * time.Second), MaxError: 25 * us, Switches: 1})
	out["clean"] = network(seed, 4*time.Hour, 200*time.Microsecond).with(sim.Fault{Kind: sim.FaultPause},
		Expectation{From: sim.Duration(time.Minute), To: sim.Duration(4 * time.Hour), NoFault: true, MaxError: us, Switches: -1})
	return out
}

func TestFigures(t *testing.T) {
	for seed := uint64(1); seed <= uint64(*figureSeeds); seed++ {
		for name, s := range figures(seed) {
			t.Run(fmt.Sprintf("%s/seed %d", name, seed), func(t *testing.T) {
				t.Parallel()
				r, broken, err := s.Run()
				if err != nil {
					t.Fatal(err)
				}
				for _, why := range broken {
					t.Error(why)
				}
				t.Logf("largest error from the onset on: %.1f us", r.Error.Window(sim.Elapsed(onset), sim.Elapsed(s.Duration)).Max()/1000)
			})
		}
	}
}
