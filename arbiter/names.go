package arbiter

import "clockarbiter/sources"

var (
	modeNames  = sources.Names{FreeRunning: "free-running", Acquiring: "acquiring", Locked: "locked", Holdover: "holdover"}
	stateNames = sources.Names{
		Unreachable: "unreachable", Unsynchronised: "unsynchronised", Stale: "stale", Jittery: "jittery",
		Distant: "distant", Falseticker: "falseticker", Watched: "watched", Settling: "settling",
		Selectable: "selectable", Selected: "selected",
	}
	stateMarks = []byte{
		Unreachable: '?', Unsynchronised: 'u', Stale: 'o', Jittery: '~', Distant: 'd', Falseticker: 'x',
		Watched: 'n', Settling: 's', Selectable: '+', Selected: '*',
	}
	eventNames = sources.Names{
		ModeChanged: "mode-changed", SelectionChanged: "selection-changed", SourceStateChanged: "source-state-changed",
		FaultRaised: "fault-raised", FaultCleared: "fault-cleared", StepOrdered: "step-ordered", StepRefused: "step-refused",
		LimitViolated: "limit-violated", LimitMet: "limit-met",
	}
	answerNames = sources.Names{KeepIncumbent: "keep", BetterBound: "better-bound", HoldOver: "holdover"}
)

// String returns the mode in lower case: "free-running".
func (m Mode) String() string { return modeNames.Of(uint8(m)) }

// MarshalText encodes the name of the mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (m *Mode) UnmarshalText(b []byte) error { return modeNames.Parse("mode", b, (*uint8)(m)) }

// String returns the state in lower case: "falseticker".
func (s State) String() string { return stateNames.Of(uint8(s)) }

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
func (s *State) UnmarshalText(b []byte) error { return stateNames.Parse("state", b, (*uint8)(s)) }

// String returns the kind in lower case: "fault-raised".
func (k EventKind) String() string { return eventNames.Of(uint8(k)) }

// MarshalText encodes the name of the kind.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *EventKind) UnmarshalText(b []byte) error {
	return eventNames.Parse("event kind", b, (*uint8)(k))
}

// String returns the configuration's word: "keep", "better-bound", "holdover".
func (a Answer) String() string { return answerNames.Of(uint8(a)) }

// MarshalText encodes the configuration's word.
func (a Answer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the configuration's word.
func (a *Answer) UnmarshalText(b []byte) error {
	return answerNames.Parse("answer to a disagreement", b, (*uint8)(a))
}
