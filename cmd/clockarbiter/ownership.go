package main

import (
	"fmt"
	"io"
	"time"

	"clockarbiter/supervisor"
)

// printOwnership says who else wrote to the clock, and nothing where nobody did and nothing is traced.
func printOwnership(w io.Writer, o supervisor.OwnershipStatus, now time.Time) {
	printTracer(w, o, now)
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

// printTracer says what the programs in the kernel are seen to do, and whom they saw.
func printTracer(w io.Writer, o supervisor.OwnershipStatus, now time.Time) {
	st, ok := o.Tracer.Get()
	if !ok {
		return
	}
	switch {
	case st.Tracing:
		fmt.Fprintf(w, "traced    calls that write to the clock; %d lost\n", st.Lost)
	case st.TracingProblem != "":
		fmt.Fprintf(w, "UNTRACED  %s\n", st.TracingProblem)
	}
	switch {
	case st.Enforcing:
		fmt.Fprintf(w, "enforced  seen at work: others are refused the clock; %d time(s) so far\n", st.Refused)
	case st.EnforcingProblem != "":
		fmt.Fprintf(w, "UNGUARDED %s\n", st.EnforcingProblem)
	}
	for _, c := range o.Callers {
		verb := "wrote"
		if c.Refused {
			verb = "refused"
		}
		fmt.Fprintf(w, "caller    %s %s, %d time(s), newest %s ago: %s\n", c.Who, verb, c.Calls, now.Sub(c.At).Round(time.Second), c.What)
	}
}
