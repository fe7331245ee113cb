package process

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// EventKind names a transition in the life of a child.
type EventKind int

// The kinds of Event.
const (
	// EventStarted: the program runs, as PID.
	EventStarted EventKind = iota + 1
	// EventStartFailed: it could not be started; Err says why.
	EventStartFailed
	// EventExited: it ended, by itself or as asked; Exit says how, with its last lines.
	EventExited
	// EventBackingOff: the next start is due after Delay.
	EventBackingOff
	// EventQuarantined: it has failed again and again; the next start is due only after Delay.
	EventQuarantined
	// EventRestarting: it is being stopped in order to be started again, because of Reason.
	EventRestarting
	// EventStuck: it has survived KILL for Delay, as a process in an uninterruptible wait does.
	EventStuck
	// EventStopped: the Runner ended; Err is nil when nothing is left of the child.
	EventStopped
)

// String returns the kind as one word in lower case.
func (k EventKind) String() string {
	switch k {
	case EventStarted:
		return "started"
	case EventStartFailed:
		return "start-failed"
	case EventExited:
		return "exited"
	case EventBackingOff:
		return "backing-off"
	case EventQuarantined:
		return "quarantined"
	case EventRestarting:
		return "restarting"
	case EventStuck:
		return "stuck"
	case EventStopped:
		return "stopped"
	}
	return "unknown"
}

// Event is one transition of one child. Fields that its kind does not name are zero.
type Event struct {
	Kind EventKind
	// Name is the child's name.
	Name string
	// At is when it happened.
	At time.Time
	// PID is the process concerned, 0 where there is none.
	PID int
	// Restarts is State.Restarts at that instant.
	Restarts int
	// Exit is how the run ended, of EventExited.
	Exit *Exit
	// Err is the reason of EventStartFailed, or what EventStopped leaves behind.
	Err error
	// Lines are what was said before EventStartFailed, such as a loader's complaint.
	Lines []string
	// Delay is the wait until the next start, of EventBackingOff and EventQuarantined, or how long a stuck child has been so.
	Delay time.Duration
	// Reason is what Restart was called with, of EventRestarting.
	Reason string
}

// String says in a sentence what happened.
func (e Event) String() string {
	switch e.Kind {
	case EventStarted:
		return fmt.Sprintf("%s started as process %d", e.Name, e.PID)
	case EventStartFailed:
		return fmt.Sprintf("%s could not be started: %v", e.Name, e.Err)
	case EventExited:
		return fmt.Sprintf("%s ended after %v: %v", e.Name, e.Exit.Ran.Round(time.Millisecond), e.Exit)
	case EventBackingOff:
		return fmt.Sprintf("%s is started again in %v", e.Name, e.Delay.Round(time.Millisecond))
	case EventRestarting:
		return fmt.Sprintf("%s is restarted: %s", e.Name, e.Reason)
	case EventQuarantined:
		return fmt.Sprintf("%s has failed again and again and is left alone for %v", e.Name, e.Delay.Round(time.Second))
	case EventStuck:
		return fmt.Sprintf("%s, process %d, has survived SIGKILL for %v", e.Name, e.PID, e.Delay)
	case EventStopped:
		if e.Err != nil {
			return fmt.Sprintf("%s is given up: %v", e.Name, e.Err)
		}
		return fmt.Sprintf("%s is stopped", e.Name)
	}
	return fmt.Sprintf("%s: %v", e.Name, e.Kind)
}

// logEvent writes an event to the log, for a Runner that has no other listener.
func logEvent(log *slog.Logger, e Event) {
	attrs := []any{"child", e.Name, "event", e.Kind.String(), "pid", e.PID, "restarts", e.Restarts}
	level := slog.LevelInfo
	switch e.Kind {
	case EventExited:
		attrs = append(attrs, "exit", e.Exit.String(), "ran_s", e.Exit.Ran.Seconds(), "last_lines", e.Exit.Lines)
		if !e.Exit.Asked {
			level = slog.LevelWarn
		}
	case EventBackingOff, EventQuarantined, EventStuck:
		attrs = append(attrs, "delay_s", e.Delay.Seconds())
	case EventRestarting:
		level = slog.LevelWarn
		attrs = append(attrs, "reason", e.Reason)
	}
	if e.Err != nil {
		level = slog.LevelError
		attrs = append(attrs, "error", e.Err)
	}
	log.Log(context.Background(), level, "child transition", attrs...)
}
