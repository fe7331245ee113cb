package sim

import (
	"math"
	"math/rand/v2"
)

// OscillatorSpec describes the oscillator behind L. Frequencies are in parts per billion, which is
// nanoseconds per second; a positive frequency makes L run fast.
type OscillatorSpec struct {
	// Offset is L - UTC at the start.
	Offset Duration `toml:"offset"`
	// FrequencyPPB is the frequency error at the start.
	FrequencyPPB float64 `toml:"frequency_ppb"`
	// WhiteFM is the deviation that white frequency noise adds to the phase in one second, in ns.
	WhiteFM float64 `toml:"white_fm_ns"`
	// FlickerFM is the floor of the Allan deviation that flicker frequency noise makes, in ppb.
	FlickerFM float64 `toml:"flicker_fm_ppb"`
	// RandomWalkFM is the frequency random walk w, per square root of second: 1e-9 is a crystal in
	// a quiet room.
	RandomWalkFM float64 `toml:"random_walk_fm"`
	// AgeingPPBPerDay is the linear drift of the frequency.
	AgeingPPBPerDay float64 `toml:"ageing_ppb_per_day"`
	// Temperature moves the frequency as a sine and as ramps.
	Temperature TemperatureSpec `toml:"temperature"`
}

// TemperatureSpec describes what the temperature does to the frequency.
type TemperatureSpec struct {
	// PPBPerKelvin is the sensitivity of the oscillator, about 1000 for an uncompensated crystal.
	PPBPerKelvin float64 `toml:"ppb_per_kelvin"`
	// AmplitudeKelvin and Period are those of a sine.
	AmplitudeKelvin float64  `toml:"amplitude_kelvin"`
	Period          Duration `toml:"period"`
	// Ramps change the temperature linearly, each from its start on, and leave it changed.
	Ramps []TemperatureRamp `toml:"ramp"`
}

// TemperatureRamp is one linear change.
type TemperatureRamp struct {
	At     Duration `toml:"at"`
	Over   Duration `toml:"over"`
	Kelvin float64  `toml:"kelvin"`
}

// cell is the step of the oscillator: the frequency is constant within one, which at w = 1e-7 is
// wrong by 0.08 ns of phase.
const cell Elapsed = 12_500_000

// flickerStages first-order processes, a factor of 4 apart in time constant from 0.5 s on, add up
// to flicker noise within 5 % between 1 s and 10 h.
const flickerStages = 9

// Oscillator is one realisation of an OscillatorSpec. Its path depends on its seed and its spec
// alone, not on when it is looked at. It moves forward only.
type Oscillator struct {
	spec OscillatorSpec
	rng  *rand.Rand

	start  Elapsed // of the current cell
	phase  float64 // L - UTC at start, ns
	slope  float64 // d phase / dt within the cell, ppb
	walk   float64 // random-walk part of the frequency, ppb
	shift  float64 // frequency change by faults, ppb
	stages [flickerStages]float64
}

// NewOscillator returns the oscillator at the start of the scenario.
func NewOscillator(spec OscillatorSpec, seed uint64) *Oscillator {
	o := &Oscillator{spec: spec, rng: stream(seed, "oscillator"), phase: float64(spec.Offset)}
	for i := range o.stages {
		o.stages[i] = o.rng.NormFloat64() * o.flickerDeviation()
	}
	o.slope = o.frequency()
	return o
}

// Phase returns L - UTC in ns at the given instant, which must not be before the last one asked
// for by more than one cell.
func (o *Oscillator) Phase(at Elapsed) float64 {
	for at >= o.start+cell {
		o.advance()
	}
	return o.phase + o.slope*(at-o.start).Seconds()
}

// FrequencyPPB returns d(L - UTC)/dt in the cell of the last instant asked for.
func (o *Oscillator) FrequencyPPB() float64 { return o.slope }

// SetRandomWalk changes w from now on.
func (o *Oscillator) SetRandomWalk(w float64) { o.spec.RandomWalkFM = w }

// ShiftFrequency adds ppb to the frequency, as a temperature shock does.
func (o *Oscillator) ShiftFrequency(ppb float64) { o.shift += ppb }

// Suspend stops L for d, as CLOCK_MONOTONIC_RAW stops while a host sleeps.
func (o *Oscillator) Suspend(d Elapsed) { o.phase -= float64(d) }

func (o *Oscillator) advance() {
	dt := cell.Seconds()
	o.phase += o.slope * dt
	if o.spec.WhiteFM != 0 {
		o.phase += o.spec.WhiteFM * math.Sqrt(dt) * o.rng.NormFloat64()
	}
	o.start += cell
	if w := o.spec.RandomWalkFM * 1e9; w != 0 {
		o.walk += w * math.Sqrt(dt) * o.rng.NormFloat64()
	}
	if o.spec.FlickerFM != 0 {
		o.advanceFlicker(dt)
	}
	o.slope = o.frequency()
}

// flickerDeviation is the deviation of each stage: a stage of variance v peaks with an Allan
// variance of 0.38 v, and stages a factor of 4 apart sum to about 0.77 v everywhere.
func (o *Oscillator) flickerDeviation() float64 { return o.spec.FlickerFM / math.Sqrt(0.77) }

func (o *Oscillator) advanceFlicker(dt float64) {
	tau := 0.5
	for i := range o.stages {
		keep := math.Exp(-dt / tau)
		o.stages[i] = keep*o.stages[i] +
			o.flickerDeviation()*math.Sqrt(1-keep*keep)*o.rng.NormFloat64()
		tau *= 4
	}
}

func (o *Oscillator) frequency() float64 {
	f := o.spec.FrequencyPPB + o.walk + o.shift
	f += o.spec.AgeingPPBPerDay * o.start.Seconds() / 86400
	f += o.spec.Temperature.PPBPerKelvin * o.temperature()
	for _, s := range o.stages {
		f += s
	}
	return f
}

// temperature returns the deviation from the temperature at the start, in kelvin.
func (o *Oscillator) temperature() float64 {
	t := o.spec.Temperature
	var kelvin float64
	if t.Period > 0 {
		kelvin = t.AmplitudeKelvin * math.Sin(2*math.Pi*float64(o.start)/float64(t.Period))
	}
	for _, r := range t.Ramps {
		kelvin += r.Kelvin * ramp(o.start, Elapsed(r.At), Elapsed(r.Over))
	}
	return kelvin
}

// ramp rises from 0 at start to 1 at start + over.
func ramp(now, start, over Elapsed) float64 {
	switch {
	case now <= start:
		return 0
	case now >= start+over:
		return 1
	}
	return float64(now-start) / float64(over)
}
