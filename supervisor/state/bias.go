package state

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

const (
	// MaxBiases bounds their number, maxID and maxReference their names, in bytes.
	MaxBiases           = 64
	maxID, maxReference = 256, 64
	// maxBias is the largest believable bias: no path hides more.
	maxBias = time.Second
)

// Bias is the constant offset of one source.
type Bias struct {
	// ID is the source, Reference the grandmaster behind a PTP source, empty for NTP.
	ID        string `json:"id"`
	Reference string `json:"reference,omitempty"`
	// Offset is source - UTC, SD one standard deviation of it, in nanoseconds.
	Offset time.Duration `json:"offset_ns"`
	SD     time.Duration `json:"sd_ns"`
	// Learnt is when it was last confirmed.
	Learnt time.Time `json:"learnt"`
}

// Check names what no bias can be, or what the file has no room for; nil for one that is kept.
func (b Bias) Check() error {
	switch {
	case b.ID == "" || len(b.ID) > maxID || !printable(b.ID):
		return fmt.Errorf("source %.40q", b.ID)
	case len(b.Reference) > maxReference || !printable(b.Reference):
		return fmt.Errorf("reference %.40q", b.Reference)
	case b.Offset > maxBias || b.Offset < -maxBias:
		return fmt.Errorf("%v is beyond %v", b.Offset, maxBias)
	case b.SD <= 0 || b.SD > maxBias:
		return fmt.Errorf("standard deviation %v is not between 0 and %v", b.SD, maxBias)
	case !sensible(b.Learnt):
		return fmt.Errorf("it was learnt in the year %d", b.Learnt.Year())
	}
	return nil
}

func checkBiases(list []Bias) error {
	if len(list) > MaxBiases {
		return fmt.Errorf("%d biases, at most %d are believed", len(list), MaxBiases)
	}
	seen := map[string]bool{}
	for i, b := range list {
		if err := b.Check(); err != nil {
			return fmt.Errorf("bias %d: %w", i+1, err)
		}
		if seen[b.ID] {
			return fmt.Errorf("bias %d: a second one of %.40q", i+1, b.ID)
		}
		seen[b.ID] = true
	}
	return nil
}

// printable reports whether a name is text in one line, without what JSON writes as six bytes.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) < 0
}
