package story

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"
)

// Entry is one entry of the supervisor's log.
type Entry struct {
	Time    time.Time
	Level   string
	Message string
	// Fields are the others, those of the journal in capitals.
	Fields map[string]string
}

// Decision reports whether the entry is one that the journal would show as a decision or a transition.
func (e Entry) Decision() bool { return e.Fields["MESSAGE_ID"] != "" }

// Journal collects the JSON log that is written to it.
type Journal struct {
	mu      sync.Mutex
	partial []byte
	entries []Entry
}

// Write takes any part of the log and never fails. A line that is not JSON becomes an entry with nothing
// but a message: a panic is to be seen too.
func (j *Journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.partial = append(j.partial, b...)
	for {
		line, rest, found := bytes.Cut(j.partial, []byte("\n"))
		if !found {
			return len(b), nil
		}
		j.entries = append(j.entries, parseEntry(line))
		j.partial = rest
	}
}

// Entries are those so far.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Entry(nil), j.entries...)
}

func parseEntry(line []byte) Entry {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(line, &raw); err != nil {
		return Entry{Message: string(line)}
	}
	e := Entry{Fields: make(map[string]string)}
	for key, value := range raw {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			text = string(value) // A number stays as it is written.
		}
		switch key {
		case "time":
			e.Time, _ = time.Parse(time.RFC3339Nano, text) // A broken time is shown as the zero time.
		case "level":
			e.Level = text
		case "msg":
			e.Message = text
		default:
			e.Fields[key] = text
		}
	}
	return e
}
