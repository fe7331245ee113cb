package sources

import "fmt"

var (
	kindNames      = []string{NTP: "ntp", PTP: "ptp"}
	leapNames      = []string{LeapNone: "none", LeapInsert: "insert", LeapDelete: "delete"}
	conditionNames = []string{Unreachable: "unreachable", Unsynchronised: "unsynchronised", Measuring: "measuring"}
	outcomeNames   = []string{
		Accepted: "accepted", Restarted: "restarted", Duplicate: "duplicate", Backwards: "backwards",
		Future: "future", Outlier: "outlier", Absurd: "absurd",
	}
)

// String returns "ntp" or "ptp".
func (k Kind) String() string { return nameOf(kindNames, uint8(k)) }

// MarshalText encodes the name of the kind.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Kind) UnmarshalText(b []byte) error { return valueOf(kindNames, "kind", b, (*uint8)(k)) }

// String returns "none", "insert" or "delete".
func (l Leap) String() string { return nameOf(leapNames, uint8(l)) }

// MarshalText encodes the name of the announcement.
func (l Leap) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Leap) UnmarshalText(b []byte) error { return valueOf(leapNames, "leap", b, (*uint8)(l)) }

// String returns "unreachable", "unsynchronised" or "measuring".
func (c Condition) String() string { return nameOf(conditionNames, uint8(c)) }

// MarshalText encodes the name of the condition.
func (c Condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Condition) UnmarshalText(b []byte) error {
	return valueOf(conditionNames, "condition", b, (*uint8)(c))
}

// String returns the outcome in lower case: "accepted", "outlier".
func (o Outcome) String() string { return nameOf(outcomeNames, uint8(o)) }

// MarshalText encodes the name of the outcome.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (o *Outcome) UnmarshalText(b []byte) error {
	return valueOf(outcomeNames, "outcome", b, (*uint8)(o))
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
