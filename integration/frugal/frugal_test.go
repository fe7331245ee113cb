package frugal

import (
	"fmt"
	"testing"
)

// complaints collects what Parse has to say.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Helper() {}
func (c *complaints) Errorf(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

var sink [][]byte

func TestOnlyAGreedyParserIsComplainedOf(t *testing.T) {
	for _, tc := range []struct {
		name   string
		parse  func()
		greedy bool
	}{
		{"nothing", func() {}, false},
		{"half a megabyte", func() { sink = append(sink, make([]byte, MaxBytes/2)) }, false},
		{"two in one", func() { sink = append(sink, make([]byte, 2*MaxBytes)) }, true},
		{"two in small pieces", func() {
			for range 2 * MaxBytes / 512 {
				sink = append(sink, make([]byte, 512))
			}
		}, true},
	} {
		c := &complaints{TB: t}
		Parse(c, 0, tc.parse)
		if (len(c.said) > 0) != tc.greedy {
			t.Errorf("%s: %v", tc.name, c.said)
		}
		sink = nil
	}
}
