package servo

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Memory is what a servo knows of its clock. It holds on the same L only.
type Memory struct {
	// At is the newest observation's instant, FreqPPB the correction in force then.
	At      timescale.Instant `json:"at"`
	FreqPPB float64           `json:"freq_ppb"`
	// Base + Phase is the clock - L, BiasPPB the rate that FreqPPB does not explain.
	Base    time.Duration `json:"base_ns"`
	Phase   float64       `json:"phase_ns"`
	BiasPPB float64       `json:"bias_ppb"`
	// The covariance: ns^2, ns*ppb, ppb^2.
	PhaseVariance float64 `json:"phase_variance"`
	Covariance    float64 `json:"covariance"`
	BiasVariance  float64 `json:"bias_variance"`
	// RatePPB is that of the last target.
	RatePPB sources.Optional[float64] `json:"rate_ppb"`
}

// Memory returns what the servo knows, false before its first observation.
func (s *Servo) Memory() (Memory, bool) {
	p := &s.plant
	return Memory{
		At: p.at, FreqPPB: p.freqPPB, Base: p.base, Phase: p.phase, BiasPPB: p.bias,
		PhaseVariance: p.pp, Covariance: p.pb, BiasVariance: p.bb, RatePPB: s.rate,
	}, p.started
}

// Recall takes up what a servo of an earlier run knew of the same clock: which frequency keeps the rate of
// the target is known at once.
func (s *Servo) Recall(m Memory) {
	s.plant = plant{
		at: m.At, started: true, freqPPB: m.FreqPPB, base: m.Base, phase: m.Phase, bias: m.BiasPPB,
		pp: m.PhaseVariance, pb: m.Covariance, bb: m.BiasVariance,
	}
	s.rate, s.resumed = m.RatePPB, true
}

// Sound reports whether the memory is one that a servo can have.
func (m Memory) Sound() bool {
	for _, f := range [...]float64{m.FreqPPB, m.Phase, m.BiasPPB, m.PhaseVariance, m.Covariance, m.BiasVariance, m.RatePPB.Or(0)} {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return m.PhaseVariance >= 0 && m.BiasVariance >= 0
}

// ReleasePPB is the frequency correction that keeps the rate of the last target without any slew, false
// where there was no target.
func (m Memory) ReleasePPB() (float64, bool) {
	rate, ok := m.RatePPB.Get()
	return rate - m.BiasPPB, ok
}
