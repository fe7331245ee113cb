// Package checkpoint is what a running supervisor leaves behind every second, so that a successor within
// the same boot goes on where it was killed: where L is, where the steered clock is on it, and the whole
// state of roster and arbiter, convictions of liars included.
//
// It is made and taken up by the control loop; the package decides whether one may be taken up, and touches
// no clock.
package checkpoint

import (
	"errors"
	"fmt"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/clock/servo"
	"clockarbiter/clock/timescale"
	"clockarbiter/recording"
	"clockarbiter/supervisor/sealed"
)

const (
	// FileName is the file in the run directory, which does not outlive the boot.
	FileName = "checkpoint"
	// MaxAge is how old a checkpoint may be: after that a cold start is no worse.
	MaxAge = 10 * time.Minute
	// MaxTaken is how often in a row a state is taken up without a good minute in between: one that
	// brings its program down must not do so for ever.
	MaxTaken = 5
	// movedLeast and movedPPM are by how much the clock may have moved against L since: what a slew that
	// was left in force does. Beyond that somebody set it, and a start from nothing is right.
	movedLeast = time.Millisecond
	movedPPM   = 1000
)

// form is that of the file; a keyframe of 64 sources has some 300 kB.
var form = sealed.Form{Magic: "clockarbiter-checkpoint", Version: 1, MaxBytes: 8 << 20}

// Checkpoint is one moment of a supervisor.
type Checkpoint struct {
	// Boot is the run of the kernel: CLOCK_MONOTONIC_RAW starts anew with each.
	Boot string `json:"boot"`
	// Program is who wrote it: only the same program knows what its state means.
	Program recording.Program `json:"program"`
	Shape   string            `json:"shape"`
	Driver  string            `json:"driver"`
	// Taken counts how often in a row a state was taken up.
	Taken int `json:"taken"`
	// Anchor is L - CLOCK_MONOTONIC_RAW.
	Anchor time.Duration `json:"anchor_ns"`
	// At is the instant on L, System the steered clock - L then.
	At     timescale.Instant `json:"at"`
	System time.Duration     `json:"system_ns"`
	Servo  servo.Memory      `json:"servo"`
	// Virtual is the clock itself, for the driver virtual: the kernel's outlives us by itself.
	Virtual *clock.VirtualState `json:"virtual,omitempty"`
	State   *recording.Keyframe `json:"state"`
}

// Present is the world that a checkpoint is taken up in.
type Present struct {
	Boot    string
	Program recording.Program
	Driver  string
	// Raw is CLOCK_MONOTONIC_RAW, Realtime CLOCK_REALTIME at the same instant.
	Raw, Realtime time.Duration
}

// ErrOther marks a checkpoint that is of another boot, program or driver: nothing is wrong with it, and
// it says nothing of the present.
var ErrOther = errors.New("of another run")

// Encode returns the contents of a file.
func (c *Checkpoint) Encode() ([]byte, error) {
	data, err := form.Seal(c)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	return data, nil
}

// Load reads the file at path. The error wraps fs.ErrNotExist when there is none, and else says why the
// file is not believed.
func Load(path string) (*Checkpoint, error) {
	data, err := form.Read(path)
	if err != nil {
		return nil, fmt.Errorf("load checkpoint: %w", err)
	}
	return Decode(data)
}

// Decode reads the contents of a file.
func Decode(data []byte) (*Checkpoint, error) {
	c := &Checkpoint{}
	if _, err := form.Open(data, c); err != nil {
		return nil, fmt.Errorf("load checkpoint: %w", err)
	}
	return c, nil
}

// Age is how long before the present it was made.
func (c *Checkpoint) Age(p Present) time.Duration { return p.Raw + c.Anchor - time.Duration(c.At) }

// Restore returns the machines of the earlier run, to be continued on the same L. The error says why they
// may not be taken up.
func (c *Checkpoint) Restore(p Present) (*arbiter.Arbiter, *roster.Roster, error) {
	if err := c.Check(p); err != nil {
		return nil, nil, err
	}
	if c.Taken < 0 || c.Taken >= MaxTaken {
		return nil, nil, fmt.Errorf("it was taken up %d times in a row, and none of those runs lasted a minute", c.Taken)
	}
	if c.State == nil {
		return nil, nil, errors.New("it has no state")
	}
	a, r, err := c.State.Restore()
	if err != nil {
		return nil, nil, err
	}
	if !a.Sound() {
		return nil, nil, errNonsense
	}
	return a, r, nil
}

// errNonsense marks figures that no supervisor of sound mind leaves.
var errNonsense = errors.New("a figure in it is not a measurement")

// Check says why it tells nothing of the clock at present, nil where it does.
func (c *Checkpoint) Check(p Present) error {
	if err := c.Concerns(p); err != nil {
		return err
	}
	if !c.Servo.Sound() {
		return errNonsense
	}
	return c.plausible(p)
}

// Concerns says why it is not of this boot, program and driver, nil where it is.
func (c *Checkpoint) Concerns(p Present) error {
	shape, err := recording.Shape()
	switch {
	case err != nil:
		return err
	case c.Boot == "" || c.Boot != p.Boot:
		return fmt.Errorf("%w: the host was booted since", ErrOther)
	case c.Program != p.Program || c.Shape != shape:
		return fmt.Errorf("%w: it was left by %s, this is %s", ErrOther, c.Program, p.Program)
	case c.Driver != p.Driver || (c.Virtual != nil) != (p.Driver == "virtual"):
		return fmt.Errorf("%w: its driver was %s", ErrOther, c.Driver)
	}
	return nil
}

// plausible reports whether it can be the past of the present.
func (c *Checkpoint) plausible(p Present) error {
	age := c.Age(p)
	switch {
	case age < 0 || age > MaxAge:
		return fmt.Errorf("it is %v old, limit %v", age.Round(time.Millisecond), MaxAge)
	case c.Virtual != nil:
		return nil // the clock is in it
	}
	moved := p.Realtime - p.Raw - c.Anchor - c.System
	if limit := movedLeast + age/1_000_000*movedPPM; moved.Abs() > limit {
		return fmt.Errorf("the clock was moved by %v since, more than by any slew", moved)
	}
	return nil
}
