// Package state is what one run of the supervisor leaves to the next: the rate of the oscillator, so
// that a restart, even after SIGKILL, needs to learn nothing again before it steers well, and the learnt
// biases of the sources, which a run without their teacher could never learn.
//
// The file is small, whole or absent (written beside and renamed, both synced), carries its version and
// a checksum, and is believed only when nobody else could have written it and every figure is one that
// a clock can have. A file that is not believed is reported and replaced; it is never an obstacle. The
// package touches no clock.
package state

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"clockarbiter/supervisor/sealed"
)

// Version is that of the format that is written. Version 1, which had the rate alone, is read too. A file of any
// other is not: its successor relearns in seconds what a misreading would spoil for hours.
const Version = 2

const (
	// MaxBytes bounds a file.
	MaxBytes = 256 << 10
	// MaxFreqPPB is the largest believable frequency: no crystal is off by 500 ppm.
	MaxFreqPPB = 500_000
)

// form is that of the file.
var form = sealed.Form{Magic: "clockarbiter-state", Version: Version, Oldest: 1, MaxBytes: MaxBytes}

// State is what is kept.
type State struct {
	// Saved is when, in UTC as far as it was known.
	Saved time.Time `json:"saved"`
	// Boot identifies the run of the kernel (/proc/sys/kernel/random/boot_id). The rate of
	// CLOCK_MONOTONIC_RAW is calibrated anew at each boot, by up to BootPPB.
	Boot string `json:"boot"`
	// FreqPPB is the frequency of UTC against CLOCK_MONOTONIC_RAW in parts per billion, positive: the
	// oscillator is slow. SDPPB is one standard deviation of it when it was saved.
	FreqPPB float64 `json:"freq_ppb"`
	SDPPB   float64 `json:"sd_ppb"`
	// Biases are the learnt constant offsets, one per source at most.
	Biases []Bias `json:"biases,omitempty"`
	// Crystal is what was learnt of the oscillator's temperature and ageing, nil without a sensor.
	Crystal *Crystal `json:"crystal,omitempty"`
}

// How the uncertainty of a saved rate grows.
const (
	// leastPPB is the least that is believed, whatever was saved.
	leastPPB = 50
	// DriftPPB is the random walk of a crystal in a room, in parts per billion per square root of a
	// second: 1 ppm, a degree, in half an hour.
	DriftPPB = 24
	// BootPPB allows for the calibration at boot.
	BootPPB = 20_000
	// forgottenAfter is the age at which nothing is left.
	forgottenAfter = 90 * 24 * time.Hour
)

// Rate returns frequency and standard deviation, in parts per billion, for now and the present boot;
// false when the state is too old, or from the future, to be worth anything.
func (s State) Rate(now time.Time, boot string) (freqPPB, sdPPB float64, ok bool) {
	age := now.Sub(s.Saved)
	if age > forgottenAfter || age < -forgottenAfter || s.SDPPB <= 0 {
		return 0, 0, false
	}
	// An age below 0 is a clock that was not set yet: the walk is the same either way.
	sd := math.Hypot(max(s.SDPPB, leastPPB), DriftPPB*math.Sqrt(age.Abs().Seconds()))
	if boot == "" || boot != s.Boot {
		sd = math.Hypot(sd, BootPPB)
	}
	return s.FreqPPB, sd, true
}

// check names what no clock can have.
func (s State) check() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(!sensible(s.Saved), "it was saved in the year %d", s.Saved.Year())
	refuse(!(math.Abs(s.FreqPPB) <= MaxFreqPPB), "frequency %g ppb is beyond %d", s.FreqPPB, MaxFreqPPB)
	refuse(!(s.SDPPB > 0 && s.SDPPB <= MaxFreqPPB), "standard deviation %g ppb is not between 0 and %d", s.SDPPB, MaxFreqPPB)
	refuse(len(s.Boot) > 64, "boot identifier of %d bytes", len(s.Boot))
	return errors.Join(append(errs, checkBiases(s.Biases), s.Crystal.Check())...)
}

// sensible reports whether a time can be one at which this program ran.
func sensible(t time.Time) bool { return t.Year() >= 2020 && t.Year() <= 2199 }

// Encode returns the contents of a file, or the error of a state that Decode would refuse.
func Encode(s State) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	s.Saved = s.Saved.UTC()
	s.Biases = slices.Clone(s.Biases)
	for i := range s.Biases {
		s.Biases[i].Learnt = s.Biases[i].Learnt.UTC()
	}
	if s.Crystal != nil {
		crystal := *s.Crystal
		crystal.Learnt = crystal.Learnt.UTC()
		s.Crystal = &crystal
	}
	data, err := form.Seal(s)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return data, nil
}

// Decode reads the contents of a file. The error says what is wrong with it.
func Decode(data []byte) (State, error) {
	var s State
	version, err := form.Open(data, &s)
	if err != nil {
		return State{}, err
	}
	if err := s.check(); err != nil {
		return State{}, err
	}
	if version == 1 && (len(s.Biases) > 0 || s.Crystal != nil) {
		return State{}, errors.New("contents: version 1 has the rate alone")
	}
	return s, nil
}
