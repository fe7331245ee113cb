package sim

import (
	"math"
	"math/rand/v2"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
)

// room is the temperature at the start of every scenario, in degrees Celsius.
const room = 40.0

// sensor reads the temperature of the oscillator, or something else.
type sensor struct {
	spec SensorSpec
	rng  *rand.Rand
}

func newSensor(w *world) *sensor {
	return &sensor{spec: w.scenario.Sensor, rng: stream(w.scenario.Seed, "sensor")}
}

// read returns what the sensor says of an oscillator that is kelvin above the room.
func (s *sensor) read(now Elapsed, kelvin float64) sources.Optional[arbiter.Temperature] {
	late := now >= Elapsed(s.spec.At)
	switch kind := s.spec.Kind; {
	case kind == "", kind == "lost" && late:
		return sources.None[arbiter.Temperature]()
	case kind == "stuck":
		kelvin = 0
	case kind == "nonsense", kind == "wild" && late:
		kelvin = -20 + 80*s.rng.Float64()
	}
	if q := s.spec.Quantum; q > 0 {
		kelvin = math.Round(kelvin/q) * q
	}
	return sources.Some(arbiter.Temperature{Celsius: room + kelvin})
}
