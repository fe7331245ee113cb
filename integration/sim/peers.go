package sim

import (
	"math"

	"github.com/facebook/time/servo"
)

// Peer is what the discipline is measured against: something that keeps a clock on top of L from
// the same readings of the source.
type Peer interface {
	// Reading takes one reading at the instant at of L: offset is the source - L in ns.
	Reading(at, offset float64)
	// Clock returns the peer's clock - L in ns at the instant at of L.
	Clock(at float64) float64
}

// PI is linuxptp's servo in closed loop, as facebook/time has it.
type PI struct {
	servo  *servo.PiServo
	offset float64 // clock - L at the instant since, ns
	since  float64 // ns of L
	ppb    float64
}

// NewPI returns a PI servo with constant gains for the given interval in seconds. Offsets above
// 20 us at the first update are stepped, linuxptp's default.
func NewPI(kp, ki, interval float64) *PI {
	s := servo.DefaultServoConfig()
	s.FirstUpdate = true
	s.FirstStepThreshold = 20_000
	pi := servo.NewPiServo(s, &servo.PiServoCfg{
		PiKpScale: kp, PiKiScale: ki, PiKpNormMax: math.MaxFloat64, PiKiNormMax: math.MaxFloat64,
	}, 0)
	pi.SyncInterval(interval)
	pi.SetMaxFreq(500_000)
	return &PI{servo: pi}
}

// Reading is one update of the servo, whose sign is clock - source.
func (p *PI) Reading(at, offset float64) {
	now := p.Clock(at)
	err := now - offset
	ppb, state := p.servo.Sample(int64(math.Round(err)), uint64(at))
	if state == servo.StateJump {
		now -= err
	}
	p.offset, p.since, p.ppb = now, at, -ppb
}

// Clock returns the servo's clock - L.
func (p *PI) Clock(at float64) float64 { return p.offset + p.ppb*(at-p.since)*1e-9 }

// Oracle is the Kalman filter that is told the true noise: with white phase noise of readings and
// random-walk frequency noise no linear estimator has a smaller error. Its clock is the estimate
// itself.
type Oracle struct {
	// R is the variance of a reading in ns^2, W the frequency random walk in ppb per square root
	// of second. Both may be changed between readings, as the truth changes.
	R, W float64

	started        bool
	since          float64
	phase, freq    float64
	pp, pf, ff     float64
	UnknownFreqPPB float64
}

// NewOracle returns the oracle for readings of deviation sigma ns and a frequency random walk of w
// per square root of second.
func NewOracle(sigma, w float64) *Oracle {
	return &Oracle{R: sigma * sigma, W: w * 1e9, UnknownFreqPPB: 1e5}
}

// Reading is one update of the filter.
func (o *Oracle) Reading(at, offset float64) {
	if !o.started {
		o.started, o.since, o.phase = true, at, offset
		o.pp, o.ff = o.R, o.UnknownFreqPPB*o.UnknownFreqPPB
		return
	}
	o.project(at)
	s := o.pp + o.R
	gp, gf, nu := o.pp/s, o.pf/s, offset-o.phase
	o.phase += gp * nu
	o.freq += gf * nu
	o.ff -= gf * o.pf
	o.pf -= gp * o.pf
	o.pp -= gp * o.pp
}

// project moves the state to the instant at of L.
func (o *Oracle) project(at float64) {
	dt, q := (at-o.since)*1e-9, o.W*o.W
	o.phase += o.freq * dt
	o.pp += 2*o.pf*dt + o.ff*dt*dt + q*dt*dt*dt/3
	o.pf += o.ff*dt + q*dt*dt/2
	o.ff += q * dt
	o.since = at
}

// Clock returns the estimate of source - L.
func (o *Oracle) Clock(at float64) float64 { return o.phase + o.freq*(at-o.since)*1e-9 }
