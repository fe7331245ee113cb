package supervisor

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/sources"
	"clockarbiter/supervisor/tracer"
)

const (
	// maxCalls is how many calls an intrusion is compared with, maxCallers how many callers are remembered.
	maxCalls   = 64
	maxCallers = 32
	// callAgain is how long a caller that goes on is not journalled again.
	callAgain = 10 * time.Minute
	// callMargin is by how much a call may lie outside the interval of an intrusion, for the time between
	// the readings and the call's own time; a slew shows by and by.
	callMargin = 100 * time.Millisecond
	slewShows  = 30 * time.Second
)

// callTracer is what the control loop needs of package tracer. No method waits.
type callTracer interface {
	Want(enforce bool)
	State() tracer.State
}

// callers knows who has called, where calls are traced. The control loop owns it.
type callers struct {
	tracer callTracer // nil: nothing is traced
	callC  <-chan tracer.Call
	recent []tracedCall
	list   []caller
	wanted bool    // the last word to the tracer
	said   [2]bool // tracing, enforcing, as the journal has it
	why    [2]string
}

type tracedCall struct {
	call tracer.Call
	at   timescale.Instant
}

// caller is one process: its newest call, and how often it called.
type caller struct {
	tracedCall
	count, unsaid int
	saidAt        sources.Optional[timescale.Instant]
}

// CallerStatus is a process that was seen to write, or to try.
type CallerStatus struct {
	Who     string    `json:"who"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	What    string    `json:"what"`
	Refused bool      `json:"refused"`
	Calls   int       `json:"calls"`
	At      time.Time `json:"at"`
}

// newTracer returns what the configuration wants traced; nil: nothing.
func newTracer(c configs.Clock) *tracer.Tracer {
	if !c.Trace && !c.Enforce {
		return nil
	}
	return tracer.New(tracer.Options{Trace: c.Trace, Enforce: c.Enforce, Period: c.Interval.Std()})
}

// called takes note of a call.
func (o *ownership) called(now timescale.Instant, c tracer.Call) {
	k := &o.callers
	t := tracedCall{call: c, at: now.Add(-c.Age())}
	if len(k.recent) == maxCalls {
		k.recent = slices.Delete(k.recent, 0, 1)
	}
	k.recent = append(k.recent, t)
	n := slices.IndexFunc(k.list, func(x caller) bool { return x.call.PID == c.PID && x.call.Refused == c.Refused })
	if n < 0 {
		if len(k.list) == maxCallers {
			k.list = slices.Delete(k.list, 0, 1)
		}
		k.list, n = append(k.list, caller{}), len(k.list)
	}
	x := &k.list[n]
	x.tracedCall = t
	x.count++
	x.unsaid++
	if at, ok := x.saidAt.Get(); ok && now.Sub(at) < callAgain {
		return
	}
	o.record.write(callEntry(*x))
	x.unsaid, x.saidAt = 0, sources.Some(now)
}

// callEntry is the journal's word on a call.
func callEntry(x caller) Entry {
	e := Entry{
		Message:  fmt.Sprintf("%s wrote to the system clock: %s", x.call.Who(), x.call.What),
		Priority: PriorityWarning, ID: MessageCall, Fields: map[string]string{"EVENT": "call"},
	}
	if x.call.Refused {
		e.Message, e.ID = fmt.Sprintf("%s was refused the system clock: %s", x.call.Who(), x.call.What), MessageRefused
		e.Fields["EVENT"] = "refused"
	}
	if x.unsaid > 1 {
		e.Message += fmt.Sprintf("; %d times since the last entry about it", x.unsaid)
	}
	if x.call.Command != "" {
		e.Message += "; command: " + x.call.Command
	}
	nameCaller(x.call, e.Fields)
	return e
}

// culprits are the calls that explain an intrusion, the newest of each process.
func (k *callers) culprits(m clock.Intrusion) []tracer.Call {
	since := m.Since.Add(-callMargin)
	if m.What == clock.SlewMade {
		since = m.Since.Add(-slewShows)
	}
	var found []tracer.Call
	for _, t := range slices.Backward(k.recent) {
		if t.call.Refused || t.at < since || t.at > m.When.Add(callMargin) {
			continue
		}
		if !slices.ContainsFunc(found, func(c tracer.Call) bool { return c.PID == t.call.PID }) {
			found = append(found, t.call)
		}
	}
	return found
}

// convict names in an entry the callers that did it.
func convict(e Entry, found []tracer.Call) Entry {
	c := found[0]
	e.Message += "; by " + c.Who() + ": " + c.What
	if c.Command != "" {
		e.Message += "; command: " + c.Command
	}
	if n := len(found) - 1; n > 0 {
		e.Message += fmt.Sprintf("; %d other process(es) called in that time too, the newest %s", n, found[1].Who())
	}
	nameCaller(c, e.Fields)
	return e
}

// nameCaller adds the fields that say who called.
func nameCaller(c tracer.Call, fields map[string]string) {
	fields["CALLER"], fields["CALLER_PID"], fields["CALLER_UID"] = c.Name, strconv.Itoa(c.PID), strconv.FormatUint(uint64(c.UID), 10)
	for key, value := range map[string]string{
		"CALLER_COMMAND": c.Command, "CALLER_EXE": c.Exe, "CALLER_UNIT": c.Unit, "CONTAINER": c.Container, "CALL": c.What,
	} {
		if value != "" {
			fields[key] = value
		}
	}
}

// attend tells the tracer whether the clock is ours to defend, and journals what it observes.
func (o *ownership) attend() {
	k := &o.callers
	if k.tracer == nil {
		return
	}
	if want := o.defence.stance == defending; want != k.wanted {
		k.wanted = want
		k.tracer.Want(want)
	}
	st := k.tracer.State()
	for n, part := range []struct {
		id              MessageID
		on              bool
		problem         string
		onText, offText string
	}{
		{MessageTracing, st.Tracing, st.TracingProblem, "Calls that write to the system clock are traced", "Calls that write to the system clock are not traced"},
		{MessageEnforcing, st.Enforcing, st.EnforcingProblem, "Others are refused the system clock by the kernel", "Others are not refused the system clock"},
	} {
		if part.problem == tracer.NotYet || part.on == k.said[n] && part.problem == k.why[n] {
			continue
		}
		k.said[n], k.why[n] = part.on, part.problem
		e := Entry{Message: part.onText, Priority: PriorityNotice, ID: part.id, Fields: map[string]string{"EVENT": "on"}}
		if !part.on {
			e.Message, e.Priority = part.offText+": "+part.problem, PriorityWarning
			e.Fields["EVENT"], e.Fields["REASON"] = "off", part.problem
		}
		o.record.write(e)
	}
}

// untraced says why an intrusion has no caller. Empty: nobody was to look.
func (k *callers) untraced() string {
	if k.tracer == nil {
		return ""
	}
	if st := k.tracer.State(); !st.Tracing {
		return "the caller is not known, because calls are not traced: " + st.TracingProblem
	}
	return "no process called: the kernel itself or the hypervisor moved the clock, or it was called before the trace began"
}

func (k *callers) status() (sources.Optional[tracer.State], []CallerStatus) {
	if k.tracer == nil {
		return sources.None[tracer.State](), nil
	}
	list := make([]CallerStatus, 0, len(k.list))
	for _, x := range slices.Backward(k.list) {
		list = append(list, CallerStatus{
			Who: x.call.Who(), PID: x.call.PID, Command: x.call.Command, What: x.call.What, Refused: x.call.Refused,
			Calls: x.count, At: x.at.Near(),
		})
	}
	return sources.Some(k.tracer.State()), list
}
