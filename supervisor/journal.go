package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// MessageID identifies a kind of entry for ever: journalctl MESSAGE_ID=... finds all of one kind,
// and the journal catalog in deploy/journal explains each.
type MessageID string

// The kinds of entry.
const (
	MessageStarted          MessageID = "1f9b907152364259a0c4ba84073aad77"
	MessageStopped          MessageID = "b87066ff79f040d99091ade453e11c83"
	MessageModeChanged      MessageID = "2011a6389fad49bcabe0e9fc44b124bc"
	MessageSelectionChanged MessageID = "bd343c89b1794c1b8491e0d024b9877e"
	MessageSourceState      MessageID = "0a550db2ba254485b2e892da8e34d5db"
	MessageFaultRaised      MessageID = "610ab53692fd4311b78ca864ac772857"
	MessageFaultCleared     MessageID = "f1c5074a78a24535814a86371d54b0e6"
	MessageStepped          MessageID = "464748d5dddf469a84e7f67ba93d3391"
	MessageStepRefused      MessageID = "925173c19b0b4fe78835e101988b0ca6"
	MessageChild            MessageID = "3f9efba0d15c4bc3862aa6da86f1213e"
	MessageForeignWrite     MessageID = "4f797c0384e542ffb16233c41ef8c0c5"
	MessageOwnership        MessageID = "5d3c0f8a7be94b0f9c4b5c1c6a2f8e11"
	MessageRivals           MessageID = "c1b0a4a5e7f24d6a8f0d8a64f3a90b27"
	MessageCall             MessageID = "0d8e2f6c51b94d02a3f7c85e16d9b4a0"
	MessageRefused          MessageID = "b26f1a9d70e84c3fb5d3e9a8074c61f2"
	MessageTracing          MessageID = "7c94e05b3fd14a6e8b21d6f0a95c3e78"
	MessageEnforcing        MessageID = "e51a7d3c88f6404f9d06b4c2e7f3a915"
	MessageKernelMove       MessageID = "8e6f2f0f4c7a4e0b9a3a5d8f0c1b7d43"
	MessageNotRecorded      MessageID = "5d1b9a6de30f4f3f9c52c1ad7c0be8e4"
	MessageWriterError      MessageID = "f72e802725d045b983e68d57bbb314dd"
	MessageReloaded         MessageID = "70eb2f5937a94c06a9eb47b1d0dd4e14"
	MessageReloadRefused    MessageID = "c0f6ba3ce7f34fd3b93bb8cf3b1a6d37"
	MessageReplanned        MessageID = "5d9a30f2c7c34f19b1b7e9a1f1d20c58"
	MessageState            MessageID = "a3c1d8b6e0524f7f9d1c3de0b6a8b4f2"
	MessageLimitViolated    MessageID = "94e3c2f07d5b4a6c8f1e6b0a2d7c3951"
	MessageLimitMet         MessageID = "c7a90d4e1b6843f2a5d8e2f3907b64dc"
	MessageSensor           MessageID = "e05b1f6c92ad47d38c4b7a1e60d9f238"
	MessageLeapTable        MessageID = "2b7d5c0fe3a94b1c9a6e84d27f01c5ab"
)

// Priority is a syslog severity, as the journal counts them.
type Priority int

// The priorities that are used.
const (
	PriorityError   Priority = 3
	PriorityWarning Priority = 4
	PriorityNotice  Priority = 5
	PriorityInfo    Priority = 6
)

// Entry is one structured journal entry. Fields are upper-case; absent values are not written, so
// that a missing figure is never a 0.
type Entry struct {
	Message  string
	Priority Priority
	ID       MessageID
	Fields   map[string]string
}

// Journal receives every decision and every transition.
type Journal interface {
	Write(Entry) error
}

// SystemdJournal writes to journald's native socket.
type SystemdJournal struct{}

// Write sends the entry; it does not block on a full socket longer than the kernel does.
func (SystemdJournal) Write(e Entry) error {
	vars := make(map[string]string, len(e.Fields)+2)
	for k, v := range e.Fields {
		vars[k] = v
	}
	vars["MESSAGE_ID"] = string(e.ID)
	vars["SYSLOG_IDENTIFIER"] = "clockarbiter"
	if err := journal.Send(e.Message, journal.Priority(e.Priority), vars); err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	return nil
}

// LogJournal writes entries as records of a structured logger, for hosts and terminals without a
// journal. The fields keep the names that the journal would show.
type LogJournal struct{ Log *slog.Logger }

// Write logs the entry at the level of its priority.
func (j LogJournal) Write(e Entry) error {
	keys := make([]string, 0, len(e.Fields))
	for k := range e.Fields {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	attrs := make([]slog.Attr, 0, len(keys)+1)
	attrs = append(attrs, slog.String("MESSAGE_ID", string(e.ID))) //nolint:sloglint // the journal's own spelling
	for _, k := range keys {
		attrs = append(attrs, slog.String(k, e.Fields[k]))
	}
	j.Log.LogAttrs(context.Background(), e.Priority.level(), oneLine(e.Message), attrs...) //nolint:sloglint // the sentence is the entry
	return nil
}

func (p Priority) level() slog.Level {
	switch {
	case p <= PriorityError:
		return slog.LevelError
	case p == PriorityWarning:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " / ") }
