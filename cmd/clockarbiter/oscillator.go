package main

import (
	"fmt"
	"io"

	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

// printOscillator says what is known of the oscillator's temperature, and nothing without a sensor.
func printOscillator(w io.Writer, o supervisor.OscillatorStatus) {
	if o.Sensor == "" {
		return
	}
	fmt.Fprintf(w, "crystal   ")
	if c, ok := o.Celsius.Get(); ok {
		fmt.Fprintf(w, "%.1f C   %+.0f +-%.0f ppb/K   ageing %+.1f +-%.1f ppb/day   ", c, o.PPBPerKelvin, o.PPBPerKelvinSD, o.AgeingPPBPerDay, o.AgeingPPBPerDaySD)
	}
	switch {
	case o.Problem != "":
		fmt.Fprintln(w, o.Problem)
	case o.ShiftNS != 0:
		fmt.Fprintf(w, "holdover moved by %s, %+.1f ppb\n", span(sources.Some(o.ShiftNS)), o.RatePPB)
	case o.Proven:
		fmt.Fprintln(w, "proven: holdover follows the temperature")
	default:
		fmt.Fprintln(w, "not proven yet: holdover does not follow the temperature")
	}
}
