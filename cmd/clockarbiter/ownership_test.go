package main

import (
	"strings"
	"testing"
	"time"

	"clockarbiter/sources"
	"clockarbiter/supervisor"
	"clockarbiter/supervisor/rivals"
	"clockarbiter/supervisor/tracer"
)

func TestPrintOwnership(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	var b strings.Builder
	printOwnership(&b, supervisor.OwnershipStatus{Answer: "defend"}, at)
	if b.Len() > 0 {
		t.Errorf("prints %q where nobody else wrote", b.String())
	}
	printOwnership(&b, supervisor.OwnershipStatus{
		Answer: "defend", Stance: "holding", Attempts: 8, MaxAttempts: 8, Intrusions: 9, Last: "step of +1.000000000 s (seen)",
		LastAt: sources.Some(at), Suspects: []rivals.Suspect{{PID: 300, Name: "chronyd", Unit: "chrony.service", Reason: "an NTP daemon"}},
	}, at.Add(7*time.Second))
	const want = `others    wrote 9 time(s), newest 7s ago: step of +1.000000000 s (seen)
owner     holding (foreign_write = "defend"), attempt 8 of 8
suspect   chronyd (pid 300, chrony.service): an NTP daemon
`
	if b.String() != want {
		t.Errorf("printed\n%swant\n%s", b.String(), want)
	}
}

func TestPrintTracer(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		state tracer.State
		want  string
	}{
		{tracer.State{Tracing: true, Lost: 2}, "traced    calls that write to the clock; 2 lost\n"},
		{tracer.State{Tracing: true, Enforcing: true, Refused: 3}, "traced    calls that write to the clock; 0 lost\nenforced  seen at work: others are refused the clock; 3 time(s) so far\n"},
		{tracer.State{TracingProblem: "no BTF", EnforcingProblem: "no LSM"}, "UNTRACED  no BTF\nUNGUARDED no LSM\n"},
	} {
		var b strings.Builder
		printOwnership(&b, supervisor.OwnershipStatus{Tracer: sources.Some(c.state), Callers: []supervisor.CallerStatus{
			{Who: "date (pid 7)", What: "set the clock", Calls: 2, At: at, Refused: true},
		}}, at.Add(time.Second))
		if want := c.want + "caller    date (pid 7) refused, 2 time(s), newest 1s ago: set the clock\n"; b.String() != want {
			t.Errorf("printed\n%swant\n%s", b.String(), want)
		}
	}
}
