package main

import (
	"fmt"
	"io"
	"time"

	"clockarbiter/supervisor"
)

// printOwnership says who else wrote to the clock, and nothing where nobody did.
func printOwnership(w io.Writer, o supervisor.OwnershipStatus, now time.Time) {
	at, ok := o.LastAt.Get()
	if !ok {
		return
	}
	fmt.Fprintf(w, "others    wrote %d time(s), newest %s ago: %s\n", o.Intrusions, now.Sub(at).Round(time.Second), o.Last)
	fmt.Fprintf(w, "owner     %s (foreign_write = %q), attempt %d of %d\n", o.Stance, o.Answer, o.Attempts, o.MaxAttempts)
	for _, s := range o.Suspects {
		fmt.Fprintf(w, "suspect   %s: %s\n", s, s.Reason)
	}
}
