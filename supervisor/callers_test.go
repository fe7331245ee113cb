package supervisor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/supervisor/rivals"
	"clockarbiter/supervisor/tracer"
)

// watched is a tracer that says what the test wants, and keeps what it was told.
type watched struct {
	state tracer.State
	words []bool
}

func (w *watched) Want(enforce bool)   { w.words = append(w.words, enforce) }
func (w *watched) State() tracer.State { return w.state }

// calledAgo is a call of so long ago.
func calledAgo(t *testing.T, ago time.Duration, name string, pid int) tracer.Call {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return tracer.Call{
		Monotonic: time.Duration(now.Nano()) - ago, PID: pid, Name: name, Command: "/bin/" + name + " -s", Unit: name + ".service", What: "set the clock to noon",
	}
}

func TestAForeignWriteNamesItsCaller(t *testing.T) {
	for _, c := range []struct {
		rule  string
		state tracer.State
		calls []tracer.Call
		want  []string
		not   string
	}{
		{"the one that called", tracer.State{Tracing: true}, []tracer.Call{calledAgo(t, 0, "date", 77)},
			[]string{"; by date (pid 77, uid 0, date.service): set the clock to noon; command: /bin/date -s"}, "likeliest"},
		{"the newest of two", tracer.State{Tracing: true}, []tracer.Call{calledAgo(t, 0, "ntpd", 5), calledAgo(t, 0, "date", 77)},
			[]string{"; by date (pid 77", "1 other process(es) called in that time too, the newest ntpd (pid 5"}, "likeliest"},
		{"one long ago is not it", tracer.State{Tracing: true}, []tracer.Call{calledAgo(t, time.Minute, "date", 77)},
			[]string{"no process called", "likeliest: chronyd"}, "; by date"},
		{"one that was refused is not it", tracer.State{Tracing: true}, []tracer.Call{{Refused: true, PID: 77, Name: "date"}}, []string{"no process called"}, "; by date"},
		{"without a trace, suspects and the reason", tracer.State{TracingProblem: "no BTF: get one"}, nil,
			[]string{"calls are not traced: no BTF: get one", "likeliest: chronyd (pid 4"}, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := lockedRig(t, "defend")
			r.own.callers = callers{tracer: &watched{state: c.state}}
			r.virtual.Stranger().Step(time.Millisecond)
			for _, call := range c.calls {
				r.own.called(r.at, call)
			}
			r.run(time.Second)
			r.own.found(r.at, rivals.Result{Suspects: []rivals.Suspect{{PID: 4, Name: "chronyd", Reason: "a daemon", Weight: rivals.WeightDaemon}}})
			got := r.journal.messages(MessageForeignWrite)
			if len(got) != 1 {
				t.Fatalf("entries %q", got)
			}
			for _, want := range c.want {
				if !strings.Contains(got[0], want) {
					t.Errorf("entry %q lacks %q", got[0], want)
				}
			}
			if c.not != "" && strings.Contains(got[0], c.not) {
				t.Errorf("entry %q has %q", got[0], c.not)
			}
		})
	}
}

// A caller that goes on is journalled at once, then every ten minutes with the number of its calls.
func TestACallerThatGoesOnIsNotAFlood(t *testing.T) {
	r := newRig(t)
	for range 1000 {
		r.own.called(r.at, calledAgo(t, 0, "ntpd", 5))
	}
	for pid := range 2 * maxCallers {
		r.own.called(r.at, tracer.Call{PID: 100 + pid, Name: "date", Refused: true, Monotonic: 1 << 62})
	}
	r.own.called(r.at.Add(callAgain), calledAgo(t, 0, "date", 100+2*maxCallers-1))
	if got := r.journal.messages(MessageCall); len(got) != 2 || !strings.HasPrefix(got[0], "ntpd (pid 5, uid 0, ntpd.service) wrote to the system clock: set the clock to noon") {
		t.Errorf("entries %q", got)
	}
	if got := r.journal.messages(MessageRefused); len(got) != 2*maxCallers {
		t.Errorf("%d refusals", len(got))
	}
	if k := r.own.callers; len(k.recent) > maxCalls || len(k.list) > maxCallers {
		t.Errorf("%d calls and %d callers are kept", len(k.recent), len(k.list))
	}
	last := len(r.own.callers.list) - 1
	r.own.called(r.at, calledAgo(t, 0, "date", 9))
	r.own.called(r.at, calledAgo(t, 0, "date", 9))
	r.own.called(r.at.Add(callAgain), calledAgo(t, 0, "date", 9))
	if got := r.journal.messages(MessageCall); len(got) != 4 || !strings.Contains(got[3], "2 times since the last entry about it") {
		t.Errorf("%d callers; entries %q", last, got)
	}
}

func TestEnforcementFollowsTheStance(t *testing.T) {
	r := lockedRig(t, "hold")
	w := &watched{state: tracer.State{EnforcingProblem: tracer.NotYet}}
	r.own.callers = callers{tracer: w}
	r.run(time.Second)
	w.state = tracer.State{Enforcing: true, Refused: 2}
	r.run(time.Second)
	st, _ := r.snapshot()
	if got := st.Ownership.Tracer.Or(tracer.State{}); got != w.state {
		t.Errorf("status %+v", got)
	}
	r.virtual.Stranger().Step(time.Millisecond)
	r.run(time.Second)
	w.state = tracer.State{EnforcingProblem: "lifted: so"}
	r.run(2 * time.Minute) // until the hold ends
	if want := []bool{true, false, true}; !slices.Equal(w.words, want) {
		t.Errorf("the tracer was told %v, want %v", w.words, want)
	}
	want := []string{"Others are refused the system clock by the kernel", "Others are not refused the system clock: lifted: so"}
	if got := r.journal.messages(MessageEnforcing); !slices.Equal(got, want) {
		t.Errorf("entries %q", got)
	}
	if got := r.journal.messages(MessageTracing); len(got) != 0 {
		t.Errorf("entries of what nobody wanted: %q", got)
	}
}
