package clock

import (
	"fmt"
	"time"

	"clockarbiter/clock/timescale"
)

// What is the kind of a move of the clock that we did not command.
type What uint8

// The kinds of moves.
const (
	// StepMade: somebody set the clock.
	StepMade What = iota + 1
	// SlewMade: the clock ran at a rate that nobody commanded through what the kernel shows, such as
	// an adjtime(3) correction.
	SlewMade
	// FrequencyWritten: the kernel's frequency or tick is not ours.
	FrequencyWritten
	// SettingsWritten: status bits, TAI - UTC, PLL constant or PLL correction are not ours.
	SettingsWritten
	// LeapSecond: the kernel inserted or deleted the leap second that it was armed for.
	LeapSecond
	// Resumed: the machine slept, and the kernel moved the clock over the time asleep.
	Resumed
)

// String is the word for the journal.
func (w What) String() string {
	switch w {
	case StepMade:
		return "step"
	case SlewMade:
		return "slew"
	case FrequencyWritten:
		return "frequency"
	case SettingsWritten:
		return "settings"
	case LeapSecond:
		return "leap-second"
	case Resumed:
		return "resume"
	}
	return fmt.Sprintf("What(%d)", uint8(w))
}

// Stranger reports whether somebody else moved the clock: not so for a leap second and a resume.
func (w What) Stranger() bool { return w != LeapSecond && w != Resumed }

// Intrusion is a move of the clock that we did not command.
type Intrusion struct {
	What What
	// Amount is by how much the clock was moved until When, positive: forward. Of a frequency it is
	// 0: what it moved is in the error that remains.
	Amount time.Duration
	// Uncertainty is by how much Amount may be wrong.
	Uncertainty time.Duration
	// RatePPB is the uncommanded rate of a slew, or the change of the frequency. Positive: faster.
	RatePPB float64
	// Since and When are the instants between which it happened, or of a slew, by which it showed.
	Since, When timescale.Instant
	// Evidence says what was seen, with figures.
	Evidence string
}

// String is one line for people: what, how much, and the evidence.
func (i Intrusion) String() string {
	switch i.What {
	case StepMade, LeapSecond, Resumed:
		return fmt.Sprintf("%s of %+.9f s (%s)", i.What, i.Amount.Seconds(), i.Evidence)
	case SlewMade, FrequencyWritten:
		return fmt.Sprintf("%s of %+.3f ppm (%s)", i.What, i.RatePPB/1000, i.Evidence)
	}
	return fmt.Sprintf("%s (%s)", i.What, i.Evidence)
}

// intrusion names a foreign write to the kernel's clock state.
func (w ForeignWrite) intrusion(since, when timescale.Instant) Intrusion {
	i := Intrusion{What: SettingsWritten, Since: since, When: when, Evidence: w.String()}
	if w.Freq.differs() || w.Tick.differs() {
		i.What = FrequencyWritten
		i.RatePPB = frequency(w.Freq.Found, w.Tick.Found) - frequency(w.Freq.Wrote, w.Tick.Wrote)
	}
	return i
}
