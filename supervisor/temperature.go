package supervisor

import (
	"fmt"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
	"clockarbiter/supervisor/thermometer"
)

// OscillatorStatus is what is known of the oscillator's temperature and ageing.
type OscillatorStatus struct {
	// Sensor is the file of the sensor, Problem why it could not be read.
	Sensor  string `json:"sensor"`
	Problem string `json:"problem"`
	// Celsius is the smoothed temperature, null before the first reading.
	Celsius sources.Optional[float64] `json:"celsius"`
	// The coefficients are of the rate of UTC against the oscillator, each with one standard deviation.
	PPBPerKelvin      float64 `json:"ppb_per_kelvin"`
	PPBPerKelvinSD    float64 `json:"ppb_per_kelvin_sd"`
	AgeingPPBPerDay   float64 `json:"ageing_ppb_per_day"`
	AgeingPPBPerDaySD float64 `json:"ageing_ppb_per_day_sd"`
	// Proven: holdover follows the temperature. RatePPB and ShiftNS are what it makes of it now.
	Proven  bool          `json:"proven"`
	RatePPB float64       `json:"rate_ppb"`
	ShiftNS time.Duration `json:"shift_ns"`
}

// newSensor returns the configured sensor, nil where none is.
func newSensor(path string, r recorder) *thermometer.Thermometer {
	if path == "" {
		return nil
	}
	return thermometer.New(path, func(err error) {
		r.sensor(PriorityWarning, fmt.Sprintf("Temperature sensor not read: %v; holdover is as without one", err))
	}, func(celsius float64) {
		r.sensor(PriorityInfo, fmt.Sprintf("Temperature sensor %s read: %.1f degrees Celsius", path, celsius))
	})
}

// temperature is the newest reading with its age; it never waits for the sensor.
func (l *loop) temperature() sources.Optional[arbiter.Temperature] {
	if l.sensor == nil {
		return sources.None[arbiter.Temperature]()
	}
	r, ok := l.sensor.Newest()
	if !ok {
		return sources.None[arbiter.Temperature]()
	}
	return sources.Some(arbiter.Temperature{Celsius: r.Celsius, Age: max(0, time.Since(r.At))})
}

func (l *loop) oscillatorStatus(d arbiter.Decision) OscillatorStatus {
	var st OscillatorStatus
	if l.sensor == nil {
		return st
	}
	st.Sensor, st.Problem = l.sensor.Path(), l.sensor.Problem()
	if t, ok := d.Thermal.Get(); ok {
		st.Celsius = sources.Some(t.Celsius)
		st.PPBPerKelvin, st.PPBPerKelvinSD = t.PPBPerKelvin, t.PPBPerKelvinSD
		st.AgeingPPBPerDay, st.AgeingPPBPerDaySD = t.AgeingPPBPerDay, t.AgeingPPBPerDaySD
		st.Proven, st.RatePPB, st.ShiftNS = t.Proven, t.RatePPB, t.Shift
	}
	return st
}

// sensor journals what became of the temperature sensor.
func (r recorder) sensor(p Priority, message string) {
	r.write(Entry{Message: message, Priority: p, ID: MessageSensor, Fields: map[string]string{"EVENT": "temperature-sensor", "REASON": message}})
}
