// Package leapseconds reads the leap-seconds.list that tzdata installs, checks it by its own hash, and
// follows its changes. Parse is pure; a Watcher does the reading. The package decides nothing: what a
// table is worth beside the sources is the arbiter's to say.
package leapseconds

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/facebook/time/leaphash"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
)

const (
	// MaxBytes bounds a file; the IERS's has 5 kB.
	MaxBytes = 64 << 10
	// maxEntries bounds the leap seconds: 28 in 45 years.
	maxEntries = 1000
	// epoch is 1900-01-01, from which the file counts, in Unix seconds (RFC 5905, 6).
	epoch = -2_208_988_800
	// maxSeconds ends with the year 2199, within what an Instant holds.
	maxSeconds = 9_467_107_200
	// leastTAI and mostTAI are the believable TAI - UTC, in seconds.
	leastTAI, mostTAI = 0, 255
)

// Parse reads the contents of a leap-seconds.list. The error says why it is not believed: its hash line
// must match, it must say when it expires, and its entries must be leap seconds, one each, in order.
func Parse(text []byte) (arbiter.LeapTable, error) {
	if len(text) > MaxBytes {
		return arbiter.LeapTable{}, fmt.Errorf("larger than %d bytes", MaxBytes)
	}
	var p parser
	for line := range strings.Lines(string(text)) {
		if err := p.line(strings.TrimRight(line, " \t\r\n")); err != nil {
			return arbiter.LeapTable{}, err
		}
	}
	switch {
	case p.hash == "":
		return arbiter.LeapTable{}, errors.New("no line has its hash")
	case p.hash != leaphash.Compute(string(text)):
		return arbiter.LeapTable{}, errors.New("its hash does not match: it was changed or cut")
	case p.table.Expires == 0:
		return arbiter.LeapTable{}, errors.New("no line says when it expires")
	case len(p.table.Seconds) == 0:
		return arbiter.LeapTable{}, errors.New("it has no entry")
	}
	return p.table, nil
}

// parser is what was read so far.
type parser struct {
	table arbiter.LeapTable
	hash  string
}

// line takes one line. What begins a line is looked at as the hash does it: a line that the hash leaves out
// must say nothing here.
func (p *parser) line(line string) error {
	switch {
	case strings.HasPrefix(line, "#@"):
		at, err := instant(strings.TrimSpace(line[2:]))
		if err != nil {
			return fmt.Errorf("expiry: %w", err)
		}
		p.table.Expires = at
		return nil
	case strings.HasPrefix(line, "#h"):
		return p.readHash(strings.Fields(line[2:]))
	case strings.HasPrefix(line, "#"):
		return nil
	}
	text, _, _ := strings.Cut(line, "#")
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil
	}
	return p.entry(words)
}

// readHash keeps the hash in the form that it is compared in: NIST's files leave leading zeroes out.
func (p *parser) readHash(words []string) error {
	if len(words) != 5 {
		return fmt.Errorf("hash: %d words, want 5", len(words))
	}
	for i, w := range words {
		n, err := strconv.ParseUint(w, 16, 32)
		if err != nil {
			return fmt.Errorf("hash: %w", err)
		}
		words[i] = fmt.Sprintf("%08x", n)
	}
	p.hash = strings.Join(words, " ")
	return nil
}

// entry takes the seconds since 1900 from which on TAI - UTC has a number of seconds.
func (p *parser) entry(words []string) error {
	if len(words) != 2 {
		return fmt.Errorf("entry of %d words, want 2", len(words))
	}
	at, err := instant(words[0])
	if err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	tai, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil || tai > mostTAI {
		return fmt.Errorf("entry: TAI - UTC of %q, want %d to %d", words[1], leastTAI, mostTAI)
	}
	next := arbiter.LeapSecond{At: at, TAI: time.Duration(tai) * time.Second}
	if len(p.table.Seconds) == maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	if n := len(p.table.Seconds); n > 0 {
		last := p.table.Seconds[n-1]
		if next.At <= last.At || (next.TAI-last.TAI).Abs() != time.Second {
			return fmt.Errorf("entry of %s does not follow that of %s by one second", day(next.At), day(last.At))
		}
	}
	if t := at.Near(); t.Day() != 1 || t.Hour() != 0 || t.Minute() != 0 || t.Second() != 0 {
		return fmt.Errorf("entry of %s: a leap second is at the end of a month", t.Format(time.RFC3339))
	}
	p.table.Seconds = append(p.table.Seconds, next)
	return nil
}

// instant reads seconds since 1900.
func instant(s string) (timescale.Instant, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, err
	}
	if n > maxSeconds || int64(n) < -epoch {
		return 0, fmt.Errorf("%d s since 1900 is before 1970 or after 2199", n)
	}
	return timescale.Instant(time.Unix(int64(n)+epoch, 0).UnixNano()), nil
}

func day(i timescale.Instant) string { return i.Near().Format(time.DateOnly) }
