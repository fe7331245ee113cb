package main

import (
	"fmt"
	"io"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

// printLeap says what is known of leap seconds, and whether one is armed.
func printLeap(w io.Writer, l supervisor.LeapStatus) {
	switch until, ok := l.Expires.Get(); {
	case ok:
		fmt.Fprintf(w, "leap      %s until %s, TAI - UTC %v", l.Table, until.Format(time.DateOnly), l.TAIOffset)
	case l.Problem != "":
		fmt.Fprintf(w, "leap      no table: %s", l.Problem)
	default:
		fmt.Fprint(w, "leap      no table")
	}
	if l.Armed != sources.LeapNone {
		fmt.Fprintf(w, "; ARMED to %v a second at the end of this day", l.Armed)
	}
	if l.Held {
		fmt.Fprint(w, "; it is due, nothing is corrected meanwhile")
	}
	fmt.Fprintln(w)
}

// leapWords says what a decision does about a leap second, empty where there is none.
func leapWords(d arbiter.Decision) string {
	switch {
	case d.Hold:
		return fmt.Sprintf("the kernel is to %v a second now; the clock keeps its rate and is not corrected until it is over", d.Leap)
	case d.Leap != sources.LeapNone:
		return fmt.Sprintf("the kernel is armed to %v a second at the end of this day: most of the sources and the leap second table say so", d.Leap)
	}
	return ""
}
