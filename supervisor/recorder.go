package supervisor

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock"
	"clockarbiter/sources"
	"clockarbiter/supervisor/process"
)

// recorder writes decisions and transitions to the journal: each transition once, steady state
// never.
type recorder struct {
	journal Journal
	log     *slog.Logger
	// boot tells the decisions of one run of the supervisor from those of another.
	boot string
}

// id names a decision: the run and the number within it.
func (r recorder) id(d arbiter.Decision) string {
	return r.boot + "-" + strconv.FormatUint(d.Number, 10)
}

func (r recorder) write(e Entry) {
	if err := r.journal.Write(e); err != nil {
		r.log.Error("entry not written to the journal", "error", err, "message", e.Message)
	}
}

// decision writes the events of a decision.
func (r recorder) decision(d arbiter.Decision, done clock.TickReport) {
	for _, ev := range d.Events {
		e := entryOf(d, ev)
		e.Fields["DECISION_ID"] = r.id(d)
		e.Fields["RULE"] = d.Rule
		e.Fields["MODE"] = d.Mode.String()
		if ev.Kind == arbiter.StepOrdered && !done.Applied {
			e.Message += " (not carried out)"
		}
		r.write(e)
	}
}

// kinds says how each kind of event is journalled.
func kindOf(k arbiter.EventKind) (MessageID, Priority) {
	switch k {
	case arbiter.ModeChanged:
		return MessageModeChanged, PriorityNotice
	case arbiter.SelectionChanged:
		return MessageSelectionChanged, PriorityNotice
	case arbiter.FaultRaised:
		return MessageFaultRaised, PriorityWarning
	case arbiter.FaultCleared:
		return MessageFaultCleared, PriorityNotice
	case arbiter.StepOrdered:
		return MessageStepped, PriorityWarning
	case arbiter.StepRefused:
		return MessageStepRefused, PriorityError
	case arbiter.LimitViolated:
		return MessageLimitViolated, PriorityWarning
	case arbiter.LimitMet:
		return MessageLimitMet, PriorityNotice
	default:
		return MessageSourceState, PriorityInfo
	}
}

func entryOf(d arbiter.Decision, ev arbiter.Event) Entry {
	id, priority := kindOf(ev.Kind)
	if ev.Kind == arbiter.SourceStateChanged && ev.To == arbiter.Falseticker.String() {
		priority = PriorityWarning
	}
	fields := map[string]string{"EVENT": ev.Kind.String(), "REASON": ev.Reason}
	set := func(key, value string) {
		if value != "" {
			fields[key] = value
		}
	}
	set("SOURCE", string(ev.Source))
	if ev.Kind == arbiter.FaultRaised {
		set("ADVICE", Advice(ev.To))
	}
	set("FROM", ev.From)
	set("TO", ev.To)
	if o, ok := ev.Offset.Get(); ok {
		set("OFFSET_NS", strconv.FormatInt(int64(o), 10))
	}
	if b, ok := ev.Bound.Get(); ok {
		set("BOUND_NS", strconv.FormatInt(int64(b), 10))
	}
	if s, ok := d.Selected.Get(); ok {
		set("SELECTED", string(s))
	}
	return Entry{Message: Sentence(ev), Priority: priority, ID: id, Fields: fields}
}

// Sentence says what happened to somebody who does not know the code.
func Sentence(ev arbiter.Event) string {
	var s string
	switch ev.Kind {
	case arbiter.ModeChanged:
		s = fmt.Sprintf("Mode %s, was %s", ev.To, orNone(ev.From))
	case arbiter.SelectionChanged:
		s = fmt.Sprintf("Following %s, was %s", orNone(ev.To), orNone(ev.From))
	case arbiter.SourceStateChanged:
		s = fmt.Sprintf("Source %s is %s, was %s", ev.Source, ev.To, orNone(ev.From))
	case arbiter.FaultRaised:
		s = "Fault " + ev.To + of(ev.Source)
	case arbiter.FaultCleared:
		s = "Fault " + ev.From + " is over" + of(ev.Source)
	case arbiter.StepOrdered:
		s = fmt.Sprintf("Stepping the clock by %s", amount(ev.Offset))
	case arbiter.LimitViolated:
		s = "Limit of " + ev.From + " violated"
	case arbiter.LimitMet:
		s = "Limit of " + ev.To + " met again"
	case arbiter.StepRefused:
		s = fmt.Sprintf("Not stepping the clock by %s", amount(ev.Offset))
	default:
		s = ev.Kind.String()
	}
	if ev.Reason == "" {
		return s
	}
	return s + ": " + ev.Reason
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func of(id sources.ID) string {
	if id == "" {
		return ""
	}
	return " of " + string(id)
}

func amount(d sources.Optional[time.Duration]) string {
	if v, ok := d.Get(); ok {
		return fmt.Sprintf("%+.6f s", v.Seconds())
	}
	return "an unknown amount"
}

// child journals a transition of a child process.
func (r recorder) child(ev process.Event) {
	priority := PriorityInfo
	switch ev.Kind {
	case process.EventStartFailed, process.EventStuck, process.EventQuarantined:
		priority = PriorityError
	case process.EventExited:
		if ev.Exit == nil || !ev.Exit.Asked {
			priority = PriorityWarning
		}
	case process.EventRestarting:
		priority = PriorityWarning
	case process.EventStarted, process.EventBackingOff, process.EventStopped:
	}
	fields := map[string]string{
		"EVENT": "child-" + ev.Kind.String(), "CHILD": ev.Name, "RESTARTS": strconv.Itoa(ev.Restarts),
	}
	if ev.PID != 0 {
		fields["CHILD_PID"] = strconv.Itoa(ev.PID)
	}
	if ev.Reason != "" {
		fields["REASON"] = ev.Reason
	}
	r.write(Entry{Message: ev.String(), Priority: priority, ID: MessageChild, Fields: fields})
}

func (r recorder) writerError(err error) {
	r.write(Entry{
		Message: "The clock could not be adjusted: " + err.Error(), Priority: PriorityError, ID: MessageWriterError,
		Fields: map[string]string{"EVENT": "writer-error", "REASON": err.Error()},
	})
}

func (r recorder) started(message string) {
	r.write(Entry{Message: message, Priority: PriorityNotice, ID: MessageStarted, Fields: map[string]string{"EVENT": "started"}})
}

func (r recorder) stopped(message string) {
	r.write(Entry{Message: message, Priority: PriorityNotice, ID: MessageStopped, Fields: map[string]string{"EVENT": "stopped"}})
}
