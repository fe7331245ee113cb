package clock

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/clock/servo"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// DisciplineOptions are the limits of the one writer.
type DisciplineOptions struct {
	// Interval is the control period, at which Tick is called.
	Interval time.Duration
	// MaxSlewPPM is the rate at which a phase error is removed at most.
	MaxSlewPPM float64
	// MaxFrequencyPPM is the largest frequency error of the oscillator that is believed.
	MaxFrequencyPPM float64
}

// TickInput is what the clock shall follow until the next tick.
type TickInput struct {
	// Target is where UTC is on L. Absent: nobody knows, and the frequency is kept.
	Target sources.Optional[sources.Estimate]
	// Step is to be added to the clock at once, positive: forward. Absent: slew only.
	Step sources.Optional[time.Duration]
	// Bound is the half-width of the error interval of UTC about Target.
	Bound time.Duration
	// Leap arms the kernel's leap second at the end of the current UTC day.
	Leap sources.Leap
	// TAIOffset is TAI - UTC in whole seconds. Absent: unchanged.
	TAIOffset sources.Optional[int]
	// Synchronised is what the kernel tells every program; false lets its maxerror grow.
	Synchronised bool
	// Coast makes no correction: the clock keeps the target's rate, and the error that remains stays.
	Coast bool
	// Hold writes nothing: the report says what would have been done.
	Hold bool
}

// TickReport is what one tick saw and did.
type TickReport struct {
	// Before is the clock as it was read, before the command.
	Before Reading
	// Command is what was given to the driver, Applied whether the driver performed it: false in
	// observe, when it was refused, and on hold.
	Command Command
	Applied bool
	// Servo is the computation: error before, remaining after the step, frequency and its reason.
	Servo servo.Output
}

// Discipline makes a clock follow a target. It owns its Kernel: nothing else writes to the clock.
// One goroutine owns it.
type Discipline struct {
	kernel   Kernel
	servo    *servo.Servo
	interval time.Duration
	dry      bool
	// held is whether the last tick was to write nothing.
	held bool

	watch *Watch // nil in observe: whoever steers the clock there is no stranger
	found []Intrusion
	read  Reading // the newest
	wrote Command // the newest that was performed
	// disarmed is until when no leap second is armed, see rearmAfter.
	disarmed timescale.Instant
}

// rearmAfter is how long a leap second is not armed after the clock was set: the kernel forgets at which
// midnight it is due, and knows it anew only once the flag was clear at the turn of a second
// (kernel/time/ntp.c, ntp_clear and second_overflow).
const rearmAfter = 2 * time.Second

// maxIntrusions bounds what waits for Intrusions. What a stranger did first says the most.
const maxIntrusions = 64

// NewDiscipline returns the owner of k.
func NewDiscipline(k Kernel, o DisciplineOptions) *Discipline {
	d := &Discipline{kernel: k, interval: o.Interval, servo: servo.New(servo.Limits{
		Interval:        o.Interval,
		MaxSlewPPM:      o.MaxSlewPPM,
		MaxFrequencyPPM: o.MaxFrequencyPPM,
		MaxTotalPPM:     MaxFrequencyPPB / 1000,
	})}
	if watcher, ok := k.(interface{ AdjustsNothing() bool }); ok {
		d.dry = watcher.AdjustsNothing()
	}
	if !d.dry {
		d.watch = NewWatch(oscillatorOf(k))
	}
	return d
}

func oscillatorOf(k Kernel) float64 {
	if o, ok := k.(oscillator); ok {
		return o.OscillatorPPB()
	}
	return 0
}

// Read observes the clock and changes nothing: for who must know where the clock is before deciding
// what it shall do.
// The error is that of the driver.
func (d *Discipline) Read() (Reading, error) {
	r, err := d.kernel.Read()
	if err != nil || d.watch == nil {
		return r, err
	}
	found := d.watch.Observe(r)
	for _, i := range found {
		if i.What == StepMade || i.What == Resumed {
			d.disarmed = r.At.Add(rearmAfter)
		}
	}
	d.found = append(d.found, found...)
	d.found = d.found[:min(len(d.found), maxIntrusions)]
	d.read = r
	return r, nil
}

// Intrusions returns what others did to the clock, as far as it was read, since the last call.
func (d *Discipline) Intrusions() []Intrusion {
	found := d.found
	d.found = nil
	return found
}

// Undo takes back at once what strangers did: it adds -step to the clock and -ratePPB to the frequency as it
// was last read, and has the next write end what they left running. What the clock says of itself stays
// as it was last published. The error is a *RefusedError.
func (d *Discipline) Undo(step time.Duration, ratePPB float64) error {
	if r, ok := d.kernel.(reclaimer); ok {
		r.Reclaim()
	}
	if step == 0 && ratePPB == 0 {
		return nil
	}
	c := d.wrote
	c.Step, c.FreqPPB, c.TAIOffset = sources.Some(-step), sources.None[float64](), sources.None[int]()
	if ratePPB != 0 {
		c.FreqPPB = sources.Some(d.read.FreqPPB - ratePPB)
	}
	if err := d.apply(c); err != nil {
		return fmt.Errorf("undo a foreign write: %w", err)
	}
	return nil
}

// apply gives a command to the driver and tells the watch of it.
func (d *Discipline) apply(c Command) error {
	w := Write{Before: d.now()}
	if c.Step.Or(0) != 0 {
		d.disarmed = w.Before.Add(rearmAfter)
	}
	if w.Before.Before(d.disarmed) {
		c.Leap = sources.LeapNone
	}
	w.Command = c
	if err := d.kernel.Apply(c); err != nil {
		return err
	}
	if d.dry {
		return nil
	}
	w.After = d.now()
	d.servo.Commanded(w.Before.Add(w.After.Sub(w.Before) / 2))
	d.watch.Wrote(w)
	d.wrote = c
	return nil
}

// now is the present where the driver tells it, else the newest reading's instant.
func (d *Discipline) now() timescale.Instant {
	if k, ok := d.kernel.(timekeeper); ok {
		return k.Now()
	}
	return d.read.At
}

// Tick reads the clock, computes one command and gives it to the driver. The error is that of the
// read, or a *RefusedError; in the latter case the report is complete and Applied is false.
func (d *Discipline) Tick(in TickInput) (TickReport, error) {
	reading, err := d.Read()
	if err != nil {
		return TickReport{}, fmt.Errorf("discipline: %w", err)
	}
	d.held = in.Hold
	report := TickReport{Before: reading, Servo: d.servo.Step(servoInput(reading, in))}
	report.Command = command(in, report.Servo, d.interval)
	if in.Hold {
		return report, nil
	}
	if err := d.apply(report.Command); err != nil {
		return report, fmt.Errorf("discipline: %w", err)
	}
	if d.dry {
		return report, nil
	}
	report.Applied = true
	d.servo.Stepped(in.Step.Or(0))
	return report, nil
}

// Release leaves the clock to itself before the program ends: the frequency keeps the rate of the
// last target, without what was being slewed, and the published errors stay as they are and grow. A
// successor finds a clock that it can take over without a step. A clock on hold is left as it is. The
// error is as for Tick.
func (d *Discipline) Release() error {
	if d.held {
		return nil
	}
	reading, err := d.Read()
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	rest := Command{
		FreqPPB:      d.servo.Step(servoInput(reading, TickInput{})).FreqPPB,
		Synchronised: reading.Synchronised,
		MaxError:     reading.MaxError,
		EstError:     reading.EstError,
	}
	if err := d.apply(rest); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// servoInput projects the target to the instant of the reading.
func servoInput(r Reading, in TickInput) servo.Input {
	out := servo.Input{At: r.At, System: r.Offset, Window: r.Window, FreqPPB: r.FreqPPB, Step: in.Step.Or(0), Coast: in.Coast}
	if target, ok := in.Target.Get(); ok {
		out.Target = sources.Some(project(target, r.At))
	}
	return out
}

// project carries an estimate to another instant by its own frequency.
func project(e sources.Estimate, at timescale.Instant) sources.Estimate {
	e.Offset += time.Duration(math.Round(e.FreqPPB * 1e-9 * float64(at.Sub(e.At))))
	e.At = at
	return e
}

// command publishes, with the frequency and the step, how far UTC may be from the system clock: the
// bound about the target, what of the error remains, and what is not known of it.
func command(in TickInput, out servo.Output, interval time.Duration) Command {
	c := Command{
		FreqPPB:   out.FreqPPB,
		Step:      in.Step,
		Leap:      in.Leap,
		TAIOffset: in.TAIOffset,
	}
	if target, ok := in.Target.Get(); ok {
		// Without a target there is no bound to publish, so the clock cannot be synchronised.
		c.Synchronised = in.Synchronised
		remaining := out.Remaining.Or(0).Abs()
		c.MaxError = in.Bound + remaining + out.Doubt + growth(target, interval)
		c.EstError = target.OffsetSD + remaining
	}
	return c
}

// growth is what the bound of the target grows by until the next tick: what is published now is read
// until then.
func growth(target sources.Estimate, interval time.Duration) time.Duration {
	return target.Project(target.At.Add(interval)).Bound - target.Bound
}
