package arbiter

import "fmt"

var (
	modeNames  = []string{FreeRunning: "free-running", Acquiring: "acquiring", Locked: "locked", Holdover: "holdover"}
	stateNames = []string{
		Unreachable: "unreachable", Unsynchronised: "unsynchronised", Stale: "stale", Jittery: "jittery",
		Distant: "distant", Falseticker: "falseticker", Watched: "watched", Settling: "settling",
		Selectable: "selectable", Selected: "selected",
	}
	stateMarks = []byte{
		Unreachable: '?', Unsynchronised: 'u', Stale: 'o', Jittery: '~', Distant: 'd', Falseticker: 'x',
		Watched: 'n', Settling: 's', Selectable: '+', Selected: '*',
	}
	eventNames = []string{
		ModeChanged: "mode-changed", SelectionChanged: "selection-changed", SourceStateChanged: "source-state-changed",
		FaultRaised: "fault-raised", FaultCleared: "fault-cleared", StepOrdered: "step-ordered", StepRefused: "step-refused",
		LimitViolated: "limit-violated", LimitMet: "limit-met",
	}
	answerNames = []string{KeepIncumbent: "keep", BetterBound: "better-bound", HoldOver: "holdover"}
)

// String returns the mode in lower case: "free-running".
func (m Mode) String() string { return nameOf(modeNames, uint8(m)) }

// MarshalText encodes the name of the mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (m *Mode) UnmarshalText(b []byte) error { return valueOf(modeNames, "mode", b, (*uint8)(m)) }

// String returns the state in lower case: "falseticker".
func (s State) String() string { return nameOf(stateNames, uint8(s)) }

// Mark returns the state's one-letter mark, ' ' for no state.
func (s State) Mark() byte {
	if int(s) < len(stateMarks) && s > 0 {
		return stateMarks[s]
	}
	return ' '
}

// MarshalText encodes the name of the state.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(b []byte) error { return valueOf(stateNames, "state", b, (*uint8)(s)) }

// String returns the kind in lower case: "fault-raised".
func (k EventKind) String() string { return nameOf(eventNames, uint8(k)) }

// MarshalText encodes the name of the kind.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *EventKind) UnmarshalText(b []byte) error {
	return valueOf(eventNames, "event kind", b, (*uint8)(k))
}

// String returns the configuration's word: "keep", "better-bound", "holdover".
func (a Answer) String() string { return nameOf(answerNames, uint8(a)) }

// MarshalText encodes the configuration's word.
func (a Answer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the configuration's word.
func (a *Answer) UnmarshalText(b []byte) error {
	return valueOf(answerNames, "answer to a disagreement", b, (*uint8)(a))
}

// nameOf keeps values outside the enumeration apart from each other, so that a recording of a
// broken input reads back as the same broken input.
func nameOf(names []string, v uint8) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("invalid-%d", v)
}

func valueOf(names []string, what string, b []byte, into *uint8) error {
	for i, name := range names {
		if name != "" && name == string(b) {
			*into = uint8(i)
			return nil
		}
	}
	if _, err := fmt.Sscanf(string(b), "invalid-%d", into); err != nil {
		return fmt.Errorf("unknown %s %q", what, b)
	}
	return nil
}
