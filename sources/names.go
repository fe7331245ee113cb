package sources

import "fmt"

var (
	kindNames      = Names{NTP: "ntp", PTP: "ptp"}
	leapNames      = Names{LeapNone: "none", LeapInsert: "insert", LeapDelete: "delete"}
	conditionNames = Names{Unreachable: "unreachable", Unsynchronised: "unsynchronised", Measuring: "measuring"}
	outcomeNames   = Names{
		Accepted: "accepted", Restarted: "restarted", Duplicate: "duplicate", Backwards: "backwards",
		Future: "future", Outlier: "outlier", Absurd: "absurd",
	}
)

// String returns "ntp" or "ptp".
func (k Kind) String() string { return kindNames.Of(uint8(k)) }

// MarshalText encodes the name of the kind.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Kind) UnmarshalText(b []byte) error { return kindNames.Parse("kind", b, (*uint8)(k)) }

// String returns "none", "insert" or "delete".
func (l Leap) String() string { return leapNames.Of(uint8(l)) }

// MarshalText encodes the name of the announcement.
func (l Leap) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Leap) UnmarshalText(b []byte) error { return leapNames.Parse("leap", b, (*uint8)(l)) }

// String returns "unreachable", "unsynchronised" or "measuring".
func (c Condition) String() string { return conditionNames.Of(uint8(c)) }

// MarshalText encodes the name of the condition.
func (c Condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Condition) UnmarshalText(b []byte) error {
	return conditionNames.Parse("condition", b, (*uint8)(c))
}

// String returns the outcome in lower case: "accepted", "outlier".
func (o Outcome) String() string { return outcomeNames.Of(uint8(o)) }

// MarshalText encodes the name of the outcome.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (o *Outcome) UnmarshalText(b []byte) error {
	return outcomeNames.Parse("outcome", b, (*uint8)(o))
}

// Names are the words of an enumeration by its values; a value without one is not part of it.
type Names []string

// Of returns the word of a value. It keeps values outside the enumeration apart from each other, so that a
// recording of a broken input reads back as the same broken input.
func (n Names) Of(v uint8) string {
	if int(v) < len(n) && n[v] != "" {
		return n[v]
	}
	return fmt.Sprintf("invalid-%d", v)
}

// Parse reads what Of returned. Error: no word of the enumeration, which is called what.
func (n Names) Parse(what string, b []byte, into *uint8) error {
	for i, name := range n {
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
