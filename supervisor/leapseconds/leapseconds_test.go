package leapseconds

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/facebook/time/leaphash"
	gocmp "github.com/google/go-cmp/cmp"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
	"clockarbiter/integration/frugal"
)

// The last entries of the file of July 2025, sealed with a hash of their own.
const body = "#\tATOMIC TIME\n#$\t3960835200\n#@\t3991593600\n2272060800      10      # 1 Jan 1972\n2287785600      11      # 1 Jul 1972\n"

// sealed adds the hash line.
func sealed(text string) []byte { return fmt.Appendf(nil, "%s#h\t%s\n", text, leaphash.Compute(text)) }

func at(y int, m time.Month, d int) timescale.Instant {
	return timescale.Instant(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).UnixNano())
}

func TestParse(t *testing.T) {
	got, err := Parse(sealed(body))
	if err != nil {
		t.Fatal(err)
	}
	want := arbiter.LeapTable{Expires: at(2026, 6, 28), Seconds: []arbiter.LeapSecond{
		{At: at(1972, 1, 1), TAI: 10 * time.Second}, {At: at(1972, 7, 1), TAI: 11 * time.Second},
	}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	crlf := strings.ReplaceAll(string(sealed(body)), "\n", "\r\n")
	if _, err := Parse([]byte(crlf)); err != nil {
		t.Errorf("with CRLF: %v", err)
	}
}

func TestNISTLeavesLeadingZeroesOutOfTheHash(t *testing.T) {
	for n := range 1000 {
		text := string(sealed(fmt.Sprintf("%s#$ %d\n", body, n)))
		if !strings.Contains(text, " 0") && !strings.Contains(text, "\t0") {
			continue
		}
		head, hash, _ := strings.Cut(text, "#h")
		var words []string
		for _, w := range strings.Fields(hash) {
			words = append(words, strings.TrimLeft(w, "0"))
		}
		if _, err := Parse([]byte(head + "#h " + strings.Join(words, " ") + "\n")); err != nil {
			t.Errorf("%s: %v", words, err)
		}
		return
	}
	t.Fatal("no hash with a leading zero was found")
}

func TestNonsenseIsRefusedAndSaysWhy(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		text       []byte
	}{
		{"empty", "no line has its hash", nil},
		{"without a hash", "no line has its hash", []byte(body)},
		{"changed", "does not match", []byte(strings.Replace(string(sealed(body)), "3960835200", "3960835201", 1))},
		{"another expiry", "does not match", []byte(strings.Replace(string(sealed(body)), "3991593600", "3991593601", 1))},
		{"an expiry that the hash leaves out", "no line says when", sealed(strings.Replace(body, "#@", " #@", 1))},
		{"without an expiry", "no line says when", sealed("2272060800 10\n")},
		{"without an entry", "no entry", sealed("#@ 3991593600\n")},
		{"expiry of words", "expiry", sealed("#@ soon\n2272060800 10\n")},
		{"before 1970", "before 1970", sealed(body + "1 12\n")},
		{"a far future", "after 2199", sealed(body + "99999999999 12\n")},
		{"an entry too long", "3 words", sealed(body + "2303683200 12 13\n")},
		{"TAI of words", "TAI - UTC", sealed(body + "2303683200 twelve\n")},
		{"two seconds at once", "by one second", sealed(body + "2303683200 13\n")},
		{"in another order", "by one second", sealed(body + "2272060800 12\n")},
		{"in the middle of a month", "end of a month", sealed(body + "2303769600 12\n")},
		{"half a hash", "4 words", append([]byte(body), "#h 1 2 3 4\n"...)},
		{"a hash of words", "invalid syntax", append([]byte(body), "#h 1 2 3 4 z\n"...)},
		{"too large", "larger", make([]byte, MaxBytes+1)},
	} {
		if got, err := Parse(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestTheTableOfThisHost(t *testing.T) {
	table := Read(Auto)
	if table.Path == "" {
		t.Skip("no tzdata here: ", table.Problem)
	}
	i := slices.IndexFunc(table.Seconds, func(s arbiter.LeapSecond) bool { return s.At == at(2017, 1, 1) })
	if table.Problem != "" || i < 0 || table.Seconds[i].TAI != 37*time.Second {
		t.Errorf("%s: %q, %d entries", table.Path, table.Problem, len(table.Seconds))
	}
}

func TestAFileThatOthersCanWriteIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leap-seconds.list")
	write(t, path, sealed(body))
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if table := Read(path); !strings.Contains(table.Problem, "written by others") || len(table.Seconds) > 0 {
		t.Errorf("%+v", table)
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAChangedFileIsReadAgainAndAnEqualOneIsNot(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "one"), filepath.Join(dir, "other")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := NewWatcher(path)
		go w.Run(ctx)
		next := func(within time.Duration) (arbiter.LeapTable, bool) {
			select {
			case table := <-w.C:
				return table, true
			case <-time.After(within):
				return arbiter.LeapTable{}, false
			}
		}
		if got, ok := next(time.Second); !ok || got.Path != path || got.Problem == "" {
			t.Errorf("an absent file at start: %+v, %v", got, ok)
		}
		write(t, path, sealed(body))
		if got, ok := next(lookEvery + time.Second); !ok || got.Problem != "" || len(got.Seconds) != 2 {
			t.Errorf("a file that appeared: %+v, %v", got, ok)
		}
		write(t, path, sealed(body))
		if got, ok := next(3 * lookEvery); ok {
			t.Errorf("the same file was delivered again: %+v", got)
		}
		write(t, other, sealed(body+"2303683200 12\n"))
		w.Reread(None)
		w.Reread(other)
		got, ok := next(time.Second)
		if got.Path == "" { // it was quick enough to see both
			got, ok = next(time.Second)
		}
		if !ok || got.Path != other || len(got.Seconds) != 3 {
			t.Errorf("another setting at a reload: %+v, %v", got, ok)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(body))
	f.Add([]byte("#@ 1\n#h 1 2 3 4 5\n0 0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		frugal.Parse(t, len(text), func() {
			for _, text := range [][]byte{text, sealed(string(text))} {
				table, err := Parse(text)
				if err != nil {
					continue
				}
				if table.Expires == 0 || len(table.Seconds) == 0 || !slices.IsSortedFunc(table.Seconds, func(a, b arbiter.LeapSecond) int { return cmp.Compare(a.At, b.At) }) {
					t.Errorf("%q gives %+v", text, table)
				}
			}
		})
	})
}
