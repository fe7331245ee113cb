package configs

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration written as a string with units, "250ms", "1.5s" or "24h"; a bare
// number is an error, because nobody can tell its unit.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes d in ASCII and without the empty units of time.Duration: "50us", not "50µs"; "24h",
// not "24h0m0s".
func (d Duration) String() string {
	s := strings.ReplaceAll(time.Duration(d).String(), "µ", "u")
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes d as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("parse duration %q: %w", text, err)
	}
	*d = Duration(v)
	return nil
}
