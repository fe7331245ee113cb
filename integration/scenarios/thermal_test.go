package scenarios

import (
	"fmt"
	"testing"
	"time"

	"clockarbiter/integration/sim"
)

// warm is a host whose oscillator follows the temperature, with everything lost after four hours.
func warm(seed uint64, sensor sim.SensorSpec) Scenario {
	const lost = 4 * time.Hour
	s := network(seed, lost+time.Hour)
	s.Sources, s.Clock.Interval = s.Sources[:1], sim.Duration(time.Second)
	s.Oscillator.Temperature = sim.TemperatureSpec{PPBPerKelvin: 200, AmplitudeKelvin: 4, Period: sim.Duration(100 * time.Minute)}
	s.Sensor = sensor
	s.Arbiter.HoldoverMaxBound = sim.Duration(10 * time.Second)
	s.Faults = []sim.Fault{{At: sim.Duration(lost), Kind: sim.FaultDie}}
	holds := sim.Assertion{From: sim.Duration(lost + time.Minute), To: s.Duration, Mode: "holdover"}
	if sensor.Kind != "" && sensor.Kind != "stuck" && sensor.Kind != "nonsense" {
		holds.Bounded = 1 // a course of the temperature that nobody sees is in no bound
	}
	s.Assertions = []sim.Assertion{holds}
	return s
}

// TestASensorImprovesHoldoverInATemperatureCourse: 8 kelvin peak to peak at 0.2 ppm per kelvin.
func TestASensorImprovesHoldoverInATemperatureCourse(t *testing.T) {
	const lost = 4 * time.Hour
	for seed := uint64(1); seed <= uint64(*figureSeeds); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			run := func(name string, s Scenario) float64 {
				r, broken, err := s.Run()
				if err != nil {
					t.Fatal(err)
				}
				for _, why := range broken {
					t.Errorf("%s: %s", name, why)
				}
				return r.Error.Window(sim.Elapsed(lost), sim.Elapsed(s.Duration)).Max() / 1000
			}
			worst := func(name string, sensor sim.SensorSpec) float64 { return run(name, warm(seed, sensor)) }
			at := sim.Duration(lost)
			without, good := worst("none", sim.SensorSpec{}), worst("good", sim.SensorSpec{Kind: "good"})
			coarse := worst("coarse", sim.SensorSpec{Kind: "good", Quantum: 1})
			restarted := warm(seed, sim.SensorSpec{Kind: "good"})
			restarted.Faults = append(restarted.Faults, sim.Fault{At: at - sim.Duration(10*time.Minute), Kind: sim.FaultKill, Value: 1})
			again := run("restarted", restarted)
			t.Logf("an hour without sources: %.1f us with the sensor, %.1f us with one of 1 K, %.1f us after a restart, %.1f us without", good, coarse, again, without)
			if max(good, coarse, again) > without/3 {
				t.Error("want a third of the error without it at most")
			}
			for name, sensor := range map[string]sim.SensorSpec{
				"stuck": {Kind: "stuck"}, "nonsense": {Kind: "nonsense"}, "lost when it is needed": {Kind: "lost", At: at},
				"wild when it is needed": {Kind: "wild", At: at},
			} {
				got := worst(name, sensor)
				t.Logf("%s: %.1f us", name, got)
				if got > 1.1*without {
					t.Errorf("%s: %.1f us, without a sensor %.1f us", name, got, without)
				}
			}
		})
	}
}
