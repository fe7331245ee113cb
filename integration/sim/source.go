package sim

import (
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// source is one source of time with its present state.
type source struct {
	spec  SourceSpec
	world *world
	path  *path
	noise *heldNoise
	phc   *steeredPHC

	dead, hung bool
	lie        float64 // ns added to its time
	ramp       float64 // ppb added to its rate since rampFrom, until rampTo
	rampFrom   Elapsed
	rampTo     Elapsed
	ahead      time.Duration // by which its samples are dated into the future
	frozen     bool
	last       sources.Sample
	taken      int
	leap       sources.Leap
}

func newSource(w *world, spec SourceSpec) *source {
	id := string(spec.ID)
	s := &source{
		spec: spec, world: w,
		path:  newPath(spec.Path, stream(w.scenario.Seed, "path "+id)),
		noise: newHeldNoise(spec.Noise, Elapsed(spec.Hold), stream(w.scenario.Seed, "noise "+id)),
		lie:   float64(spec.Bias),
	}
	s.noise.until = Elapsed(spec.HoldPhase)
	if spec.Servo.Noise > 0 {
		s.phc = newSteeredPHC(w, spec)
	}
	return s
}

// start schedules the source's first sample.
func (s *source) start() {
	s.world.queue.schedule(Elapsed(s.spec.Start), s.take)
}

// take starts one measurement and schedules the next.
func (s *source) take(now Elapsed) {
	s.taken++
	next := Elapsed(s.spec.Interval)
	if s.taken < s.spec.Burst {
		next = min(next, Elapsed(2*time.Second))
	}
	s.world.queue.schedule(now+next, s.take)
	if s.dead || s.hung {
		return
	}
	if s.frozen {
		s.deliver(now, s.last)
		return
	}
	if s.spec.Kind == PHC {
		s.read(now)
		return
	}
	s.exchange(now)
}

// read reads a PHC.
func (s *source) read(now Elapsed) {
	l := s.world.l(now)
	utc := float64(now) + s.error(now) + s.noise.at(now)
	if s.phc != nil {
		utc += s.phc.error(now)
	}
	s.deliver(now, sources.Sample{
		At: instant(l), Offset: s.world.calendar() + time.Duration(math.Round(utc-l)), Dispersion: time.Duration(s.spec.Dispersion),
	})
}

// exchange sends a request; the reply is an event of its own, so replies may overtake each other.
func (s *source) exchange(sent Elapsed) {
	there, lost := s.path.there(sent)
	back, lostBack := s.path.back(sent + there)
	if lost || lostBack {
		return
	}
	t1 := s.world.l(sent) + s.noise.at(sent)
	remote := float64(sent+there) + s.error(sent+there)
	calendar := s.world.calendar() // as the request arrives: paths are short
	s.world.queue.schedule(sent+there+back, func(now Elapsed) {
		if s.dead || s.hung {
			return
		}
		t4 := s.world.l(now) + s.noise.at(now)
		middle := t1 + (t4-t1)/2
		s.deliver(now, sources.Sample{
			At: instant(middle), Offset: calendar + time.Duration(math.Round(remote-middle)),
			Delay:      sources.Some(time.Duration(math.Round(t4 - t1))),
			Dispersion: time.Duration(s.spec.Dispersion),
		})
	})
}

// error is the source's own error, ns.
func (s *source) error(now Elapsed) float64 {
	return s.lie + s.ramp*(min(now, s.rampTo)-min(now, s.rampFrom)).Seconds()
}

func (s *source) deliver(now Elapsed, sample sources.Sample) {
	sample.Source, sample.Quality, s.last = s.spec.ID, s.quality(), sample
	sample.At = sample.At.Add(s.ahead)
	for _, p := range s.world.peers {
		p.Reading(float64(sample.At.Sub(Epoch)), float64(sample.Offset))
	}
	s.world.host.take(now, sources.Update{
		Samples: []sources.Sample{sample}, Reports: []sources.Report{s.report(now, sources.Measuring)},
	})
}

func (s *source) report(now Elapsed, c sources.Condition) sources.Report {
	return sources.Report{Source: s.spec.ID, At: instant(s.world.l(now)), Condition: c, Quality: s.quality()}
}

// quality is what the source says of itself.
func (s *source) quality() sources.Quality {
	if s.spec.Kind == NTPServer {
		return sources.Quality{
			Stratum:        sources.Some(max(1, s.spec.Stratum)),
			RootDelay:      sources.Some(time.Duration(s.spec.RootDelay)),
			RootDispersion: sources.Some(time.Duration(s.spec.RootDispersion)),
			Leap:           sources.Some(s.leap),
			Reference:      orDefault(s.spec.Reference, "GPS"),
		}
	}
	q := sources.Quality{Reference: s.spec.Grandmaster, Leap: sources.Some(s.leap), PTPTimescale: sources.Some(s.spec.Flags != flagsArbitrary)}
	if s.spec.Flags == "" {
		q.UTCOffset = sources.Some(37*time.Second - s.world.leapt)
	}
	if s.spec.ClockClass > 0 {
		q.ClockClass = sources.Some(s.spec.ClockClass)
	}
	if s.spec.ClockAccuracy > 0 {
		q.ClockAccuracy = sources.Some(time.Duration(s.spec.ClockAccuracy))
	}
	return q
}

// steeredPHC is a hardware clock that a ptp4l-like servo steers once per second.
type steeredPHC struct {
	oscillator *Oscillator
	servo      *PI
}

func newSteeredPHC(w *world, spec SourceSpec) *steeredPHC {
	id := string(spec.ID)
	p := &steeredPHC{
		oscillator: NewOscillator(OscillatorSpec{
			RandomWalkFM: spec.Servo.RandomWalkFM, FrequencyPPB: spec.Servo.FrequencyPPB,
		}, w.scenario.Seed^stream(0, "phc "+id).Uint64()),
		servo: NewPI(0.7, 0.3, 1),
	}
	noise := stream(w.scenario.Seed, "servo "+id)
	w.queue.every(0, Elapsed(time.Second), func(now Elapsed) {
		phase := p.oscillator.Phase(now)
		p.servo.Reading(float64(now)+phase, spec.Servo.Noise*noise.NormFloat64()-phase)
	})
	return p
}

// error is PHC - UTC in ns.
func (p *steeredPHC) error(now Elapsed) float64 {
	phase := p.oscillator.Phase(now)
	return p.servo.Clock(float64(now)+phase) + phase
}

// instant returns the instant of L that is ns nanoseconds after Epoch.
func instant(ns float64) timescale.Instant { return Epoch.Add(time.Duration(math.Round(ns))) }
