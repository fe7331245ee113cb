package clock

import (
	"fmt"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Write is one command that was performed at some instant between two.
type Write struct {
	Before, After timescale.Instant
	Command       Command
}

// Watch tells what a stranger did to the clock from what we did: readings and our own writes in,
// intrusions out. It reads no clock. One goroutine owns it.
//
// It reasons with intervals that hold for certain, never with deviations: a late reading or a late
// write widens an interval and cannot raise an alarm. A write that the kernel's state shows is seen at
// the next reading; a step as soon as it exceeds the windows of two readings; a slew once it has moved
// the clock by more than the windows and what 20 s of watching left open of the usual rate.
type Watch struct {
	slew   slew
	steps  interval // where CLOCK_REALTIME - CLOCK_MONOTONIC is
	slept  interval // where CLOCK_BOOTTIME - CLOCK_MONOTONIC is
	last   sources.Optional[Reading]
	writes []Write // since last
	// counted is the armed leap second that TAI - UTC counts already and the clock has not made.
	counted sources.Optional[countedLeap]
}

// countedLeap is a leap second between midnight and the kernel's next tick. From midnight on, clock_adjtime says
// that it was (kernel/time/ntp.c, ntp_adjtimex); the clock makes it with the tick (second_overflow), up to 10 ms
// later.
type countedLeap struct {
	by time.Duration // of the clock
	at timescale.Instant
}

// tickLimit is more than a tick takes. A reading that late shows the step, if there was one.
const tickLimit = time.Second

// NewWatch returns a watch of a clock whose oscillator is known to run oscillatorPPB fast against L:
// 0 for the kernel's, which shares its counter with L.
func NewWatch(oscillatorPPB float64) *Watch { return &Watch{slew: newSlew(oscillatorPPB)} }

// Wrote tells the watch of a command that the clock has performed since the last reading.
func (w *Watch) Wrote(c Write) { w.writes = append(w.writes, c) }

// Observe takes a reading and returns the moves since the last one that Wrote does not explain, none
// for the first reading.
func (w *Watch) Observe(r Reading) []Intrusion {
	var found []Intrusion
	last, ok := w.last.Get()
	since := last.At
	if !ok {
		since = r.At
	}
	if f, ok := r.Foreign.Get(); ok {
		found = append(found, f.intrusion(since, r.At))
		// Between which instants which frequency was in force is unknown.
		w.slew.forget()
	}
	if s, ok := r.Siblings.Get(); ok {
		found = append(found, w.siblings(s, r, since)...)
	}
	w.last, w.writes = sources.Some(r), w.writes[:0]
	return found
}

func (w *Watch) siblings(s Siblings, r Reading, since timescale.Instant) []Intrusion {
	last, ok := w.last.Get()
	if !ok || !last.Siblings.Present() {
		w.steps, w.slept = s.Steps.interval(), s.Slept.interval()
		w.slew.forget()
		w.slew.observe(s, r.FreqPPB, nil)
		return nil
	}
	var found []Intrusion
	if i, ok := w.sleep(s); ok {
		i.Since, i.When = since, r.At
		found = append(found, i)
	}
	if i, ok := w.step(s, last, r); ok {
		i.Since, i.When = since, r.At
		found = append(found, i)
	}
	if i, ok := w.slew.observe(s, r.FreqPPB, w.writes); ok {
		found = append(found, i)
	}
	return found
}

// sleep recognises that the machine was suspended. The kernel then moves CLOCK_REALTIME and
// CLOCK_BOOTTIME by the same amount.
func (w *Watch) sleep(s Siblings) (Intrusion, bool) {
	now := s.Slept.interval()
	if !w.slept.disjoint(now) {
		w.slept = w.slept.and(now)
		return Intrusion{}, false
	}
	asleep := w.slept.to(now)
	w.steps, w.slept = w.steps.moved(asleep), now
	w.slew.forget()
	return Intrusion{
		What: Resumed, Amount: asleep.mid(), Uncertainty: asleep.halfWidth(),
		Evidence: fmt.Sprintf("CLOCK_BOOTTIME - CLOCK_MONOTONIC moved by %s", asleep.mid()),
	}, true
}

// step recognises that somebody set the clock, and that the kernel performed an armed leap second.
func (w *Watch) step(s Siblings, last, r Reading) (Intrusion, bool) {
	for _, own := range w.writes {
		w.steps = w.steps.moved(exactly(own.Command.Step.Or(0)))
	}
	w.count(last, r)
	now := s.Steps.interval()
	if !w.steps.disjoint(now) {
		w.steps = w.steps.and(now)
		return Intrusion{}, false
	}
	moved := w.steps.to(now)
	i := Intrusion{
		What: StepMade, Amount: moved.mid(), Uncertainty: moved.halfWidth(),
		Evidence: fmt.Sprintf("CLOCK_REALTIME - CLOCK_MONOTONIC moved by %s +- %s without a command", moved.mid(), moved.halfWidth()),
	}
	if leap, ok := w.counted.Get(); ok && moved.near(leap.by) {
		i.What, i.Amount, i.Uncertainty = LeapSecond, leap.by, 0
		i.Evidence = fmt.Sprintf("the kernel was armed for it, and its TAI - UTC became %d s", r.TAIOffset)
		w.counted = sources.None[countedLeap]()
	}
	w.steps = now
	return i, true
}

// count notes that TAI - UTC has counted the armed leap second.
func (w *Watch) count(last, r Reading) {
	if leap, ok := w.counted.Get(); ok && last.At.Sub(leap.at) > tickLimit {
		w.counted = sources.None[countedLeap]()
	}
	if by := leapStep(last.Leap); by != 0 && r.TAIOffset-last.TAIOffset == -int(by/time.Second) {
		w.counted = sources.Some(countedLeap{by: by, at: r.At})
	}
}

// leapStep is what the kernel adds to its clock at the leap second.
func leapStep(l sources.Leap) time.Duration {
	switch l {
	case sources.LeapInsert:
		return -time.Second
	case sources.LeapDelete:
		return time.Second
	case sources.LeapNone:
	}
	return 0
}
