package arbiter

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// crystal is a rate of UTC against L that follows temperature and time.
type crystal struct {
	rng                 *rand.Rand
	coefficient, ageing float64 // ppb per kelvin and per day
	wander              float64 // ppb per square root of a second
	walk                float64
	t                   thermal
	now                 timescale.Instant
}

func newCrystal(seed uint64) *crystal {
	return &crystal{rng: rand.New(rand.NewPCG(seed, 11)), now: noon}
}

// live lets d pass, locked, at a temperature that is a function of time; celsius is what the sensor says.
func (c *crystal) live(d time.Duration, kelvin, celsius func(time.Duration) float64) {
	const step = 10 * time.Second
	for passed := time.Duration(0); passed < d; passed += step {
		c.now = c.now.Add(step)
		c.walk += c.wander * math.Sqrt(step.Seconds()) * c.rng.NormFloat64()
		rate := 5000 + c.walk + c.coefficient*kelvin(passed) + c.ageing*c.now.Sub(noon).Hours()/24
		e := sources.Estimate{At: c.now, FreqPPB: rate + 0.5*c.rng.NormFloat64(), FreqSDPPB: 0.5, WanderPPB: max(c.wander, 0.01)}
		c.t.feel(c.now, sources.Some(Temperature{Celsius: celsius(passed)}), true, e)
	}
}

// course is a room that warms and cools by 3 kelvin each way in two hours.
func course(t time.Duration) float64 { return 3 * math.Sin(2*math.Pi*t.Hours()/2) }

func sensed(t time.Duration) float64 { return 40 + course(t) }

func TestTheCoefficientIsLearntWithinItsUncertainty(t *testing.T) {
	for seed := range uint64(20) {
		c := newCrystal(seed)
		c.coefficient, c.wander = -300, 1
		c.live(6*time.Hour, course, sensed)
		m := &c.t.model
		if off := math.Abs(m.coefficient + 300); off > 4*m.sd(1) || m.sd(1) > 30 || !c.t.proof.proven() {
			t.Errorf("seed %d: %.1f +- %.1f ppb/K, proven %v; truth -300", seed, m.coefficient, m.sd(1), c.t.proof.proven())
		}
	}
}

func TestASensorThatSaysNothingOfTheCrystalIsNotProven(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for name, says := range map[string]func(time.Duration) float64{
		"stuck":                 func(time.Duration) float64 { return 40 },
		"random":                func(time.Duration) float64 { return 20 + 40*rng.Float64() },
		"another room's course": func(t time.Duration) float64 { return 40 + 3*math.Sin(2*math.Pi*t.Hours()*1.3) },
		"beyond belief":         func(time.Duration) float64 { return 1000 },
		"not a number":          func(time.Duration) float64 { return math.NaN() },
	} {
		c := newCrystal(3)
		c.coefficient, c.wander = -300, 1
		c.live(12*time.Hour, course, says)
		if c.t.proof.proven() {
			t.Errorf("%s: proven with %.1f +- %.1f ppb/K", name, c.t.model.coefficient, c.t.model.sd(1))
		}
	}
}

func TestAgeingIsLearntOverDaysAndBounded(t *testing.T) {
	c := newCrystal(1)
	c.ageing, c.wander = 40, 0.01
	still := func(time.Duration) float64 { return 0 }
	c.live(72*time.Hour, still, func(time.Duration) float64 { return 40 })
	m := &c.t.model
	if off := math.Abs(m.ageing - 40); off > 4*m.sd(2) || m.sd(2) > 10 {
		t.Errorf("%.1f +- %.1f ppb per day, truth 40", m.ageing, m.sd(2))
	}
	_, rate, _ := c.t.predict(c.now.Add(12*time.Hour), sources.Some(Temperature{Celsius: 40}))
	if math.Abs(rate-20) > 6 {
		t.Errorf("half a day into holdover the rate is moved by %.1f ppb, want 20", rate)
	}
	c = newCrystal(1)
	c.ageing, c.coefficient = 1e6, 1e5
	c.live(72*time.Hour, course, sensed)
	if m := &c.t.model; math.Abs(m.ageing) > maxPPBPerDay || math.Abs(m.coefficient) > maxPPBPerKelvin {
		t.Errorf("%.1f ppb per day and %.1f ppb/K are no crystal's", m.ageing, m.coefficient)
	}
}

func TestAJumpOfTheOscillatorKeepsTheCoefficient(t *testing.T) {
	c := newCrystal(2)
	c.coefficient, c.wander = 200, 0.5
	c.live(6*time.Hour, course, sensed)
	before := c.t.model.coefficient
	c.walk += 20_000
	c.live(2*time.Hour, course, sensed)
	if got := c.t.model.coefficient; math.Abs(got-before) > 20 {
		t.Errorf("%.1f ppb/K before a jump of 20 ppm, %.1f after", before, got)
	}
}

func TestWithoutASensorHoldoverIsAsBefore(t *testing.T) {
	var th thermal
	none := sources.None[Temperature]()
	th.feel(noon, none, true, sources.Estimate{FreqPPB: 10, FreqSDPPB: 0.1})
	for i := range 3600 {
		if phase, rate, unknown := th.predict(noon.Add(time.Duration(i)*time.Second), none); phase != 0 || rate != 0 || unknown != 0 {
			t.Fatalf("moved by %g ns, %g ppb, %g", phase, rate, unknown)
		}
	}
	if th.report(true).Present() {
		t.Error("a temperature is reported")
	}
}
