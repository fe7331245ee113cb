package process

import (
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/integration/frugal"
)

// split returns the lines of the pieces of one stream.
func split(pieces ...string) []string {
	var lines []string
	s := &lineSplitter{emit: func(line string) { lines = append(lines, line) }}
	for _, piece := range pieces {
		_, _ = s.Write([]byte(piece))
	}
	_ = s.Close()
	return lines
}

func TestLinesArePrintableAndBounded(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, test := range []struct {
		rule   string
		stream string
		want   []string
	}{
		{"lines end at newlines", "one\ntwo\n", []string{"one", "two"}},
		{"a carriage return before a newline goes", "one\r\ntwo", []string{"one", "two"}},
		{"empty lines are left out", "\n\none\n\n", []string{"one"}},
		{"the last line needs no end", "one", []string{"one"}},
		{"nothing is no line", "", nil},
		{"text of any language stays", "größer ±3 µs\t時刻\n", []string{"größer ±3 µs\t時刻"}},
		{"bytes that are not UTF-8 are escaped", "a\xff\x80b\n", []string{`a\xff\x80b`}},
		{"the replacement character itself is no error", "\ufffd\n", []string{`\ufffd`}},
		{"control characters are escaped", "\x1b[31m\x00\x07\rb\n", []string{`\x1b[31m\x00\a\rb`}},
		{"marks that reorder text are escaped", "a\u202eb\n", []string{`a\u202eb`}},
		{"a full line is one", long + "\nend", []string{long, "end"}},
		{"a longer line is broken", long + "y\nend", []string{long, "y", "end"}},
		{"but not within a character", long[1:] + "é\n", []string{long[1:], "é"}},
	} {
		if diff := cmp.Diff(test.want, split(test.stream)); diff != "" {
			t.Errorf("%s:\n%s", test.rule, diff)
		}
	}
}

func FuzzLines(f *testing.F) {
	for _, seed := range []string{"one\r\ntwo\xff", strings.Repeat("é\x00", maxLine), "\n\n\xf0\x9f\x98", strings.Repeat("\xf0", 3*maxLine)} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, stream string, at int) {
		var lines []string
		frugal.Parse(t, len(stream), func() { lines = split(stream) })
		for _, line := range lines {
			if line == "" || len(line) > 10*maxLine || !utf8.ValidString(line) {
				t.Fatalf("line %q", line)
			}
			if bad := strings.IndexFunc(line, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }); bad >= 0 {
				t.Fatalf("line %q is not printable at %d", line, bad)
			}
		}
		if at >= 0 && at <= len(stream) {
			if diff := cmp.Diff(lines, split(stream[:at], stream[at:])); diff != "" {
				t.Fatalf("cut at %d:\n%s", at, diff)
			}
		}
	})
}

func TestOutputKeepsTheLastLinesAndLimitsTheLog(t *testing.T) {
	o := newOutput(slog.New(slog.DiscardHandler))
	now := o.refilled
	admitted := 0
	for i := range 1000 {
		if ok, _ := o.admit(now, strings.Repeat("x", i)); ok {
			admitted++
		}
	}
	if admitted != logBurst {
		t.Errorf("%d lines logged at once, want %d", admitted, logBurst)
	}
	if got := o.lines(); len(got) != tailLines || len(got[0]) != 980 || len(got[tailLines-1]) != 999 {
		t.Errorf("kept %d lines, want the last %d", len(got), tailLines)
	}
	ok, suppressed := o.admit(now.Add(time.Second), "later")
	if !ok || suppressed != 1000-logBurst {
		t.Errorf("a second later: admitted %v after %d suppressed, want true after %d", ok, suppressed, 1000-logBurst)
	}
}

func FuzzReport(f *testing.F) {
	for _, seed := range []string{"", "+", "!no", "+!no", "+!\x1b", "?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, report string) {
		frugal.Parse(t, len(report), func() {
			if err := parseReport([]byte(report)); (err == nil) != (report == "+") {
				t.Fatalf("report %q: %v", report, err)
			}
		})
	})
}

func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"Argv":["/usr/sbin/chronyd","-n"],"Dir":"/run","Capabilities":["CAP_NET_RAW"]}`))
	f.Add([]byte(`{"Argv":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		frugal.Parse(t, len(text), func() {
			o, err := parseOrder(text)
			if err == nil && o.Argv[0] == "" {
				t.Errorf("%q is an order without a program", text)
			}
			if err == nil {
				_, _ = newCapabilitySet(o.Capabilities) // whatever it says, it must say it
			}
		})
	})
}
