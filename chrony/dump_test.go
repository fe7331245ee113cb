package chrony

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"clockarbiter/clock/timescale"
	"clockarbiter/integration/frugal"
	"clockarbiter/sources"
)

const dumpHead = "SRC0\nntp.example.net\n0 377 8 2 0\n"

const dumpLine1 = "1700000000.123456789 1.500000e-02 1.500000e-02 2.000000e-04 1.000000e-06 3.000000e-04 2.500000e-05\n"
const dumpLine2 = "1700000001.123456789 -1.400000e-02 -1.400000e-02 2.000000e-04 1.000000e-06 3.000000e-04 2.500000e-05\n"

func dumpSample1() DumpSample {
	return DumpSample{RealtimeNS: 1_700_000_000_123_456_789, LocalFast: 15 * time.Millisecond, Resolution: 5,
		PeerDelay: 200 * time.Microsecond, PeerDispersion: time.Microsecond,
		RootDelay: 300 * time.Microsecond, RootDispersion: 25 * time.Microsecond}
}

func TestParseDump(t *testing.T) {
	second := dumpSample1()
	second.RealtimeNS += int64(time.Second)
	second.LocalFast = -14 * time.Millisecond
	got, err := ParseDump([]byte(dumpHead + "2 -1\n" + dumpLine1 + dumpLine2))
	if err != nil {
		t.Fatal(err)
	}
	want := &Dump{Name: "ntp.example.net", Reach: 0o377, ReachSize: 8, Stratum: 2, Samples: []DumpSample{dumpSample1(), second}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseDumpOfRealChronyd(t *testing.T) {
	data, err := os.ReadFile("testdata/chrony-4.3.dat")
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDump(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Samples) < 3 || d.Name != "127.0.0.4" || d.Stratum != 1 || d.Leap != 0 {
		t.Errorf("%+v", d)
	}
}

// Wherever a dump is cut, what is left is a prefix of the samples, never a wrong one, and the cut
// is said.
func TestTruncatedDumpKeepsWholeSamples(t *testing.T) {
	whole := dumpHead + "2 0\n" + dumpLine1 + dumpLine2
	full, err := ParseDump([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		d, err := ParseDump([]byte(whole[:cut]))
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: error %v", cut, err)
		}
		n := max(strings.Count(whole[:cut], "\n")-4, 0)
		if d == nil {
			d = &Dump{}
		}
		if diff := cmp.Diff(full.Samples[:n], d.Samples, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("cut at %d (-want +got):\n%s", cut, diff)
		}
	}
}

func TestParseDumpRefuses(t *testing.T) {
	line := func(fields ...string) string { return strings.Join(fields, " ") + "\n" }
	for name, test := range map[string]struct{ data, want string }{
		"another version":           {"SRC1\nx\n0 1 1 1 0\n1 0\n", `begins with "SRC1"`},
		"garbage":                   {"\x00\xff\n", "begins with"},
		"too few state fields":      {"SRC0\nx\n0 1 1 1\n1 0\n" + dumpLine1, "want 5 fields"},
		"stratum out of range":      {"SRC0\nx\n0 1 1 17 0\n1 0\n" + dumpLine1, "out of range"},
		"reach is octal":            {"SRC0\nx\n0 9 1 1 0\n1 0\n" + dumpLine1, "field 2"},
		"no samples announced":      {dumpHead + "0 0\n", "want 1 to 64"},
		"more than chronyd keeps":   {dumpHead + "65 0\n", "want 1 to 64"},
		"more than announced":       {dumpHead + "1 0\n" + dumpLine1 + dumpLine2, "has 2 samples and announces 1"},
		"time goes back":            {dumpHead + "2 0\n" + dumpLine2 + dumpLine1, "not after"},
		"time without nanoseconds":  {dumpHead + "1 0\n" + line("1700000000.5", "0", "0", "0", "0", "0", "0"), "nine decimals"},
		"time beyond 2262":          {dumpHead + "1 0\n" + line("9999999999.000000000", "0", "0", "0", "0", "0", "0"), "out of range"},
		"offset is not a number":    {dumpHead + "1 0\n" + line("1.000000000", "nan", "0", "0", "0", "0", "0"), "out of range"},
		"offset beyond all reason":  {dumpHead + "1 0\n" + line("1.000000000", "1e9", "0", "0", "0", "0", "0"), "out of range"},
		"negative root dispersion":  {dumpHead + "1 0\n" + line("1.000000000", "0", "0", "0", "0", "0", "-1e-3"), "negative"},
		"a field that is no number": {dumpHead + "1 0\n" + line("1.000000000", "0", "0", "x", "0", "0", "0"), `number "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := ParseDump([]byte(test.data))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if err != nil && errors.Is(err, ErrTruncated) {
				t.Errorf("%v is no truncation", err)
			}
			_ = d
		})
	}
}

// Half a unit of the seventh digit, as chronyd prints offsets.
func TestResolution(t *testing.T) {
	for _, offset := range []time.Duration{0, 1, 999_999, 9_999_999, 10_000_000, 15_000_000, 123_456_789, 500_000_000, 37_000_000_001, -37_000_000_001} {
		printed, err := parseSeconds(fmt.Sprintf("%.6e", offset.Seconds()))
		if err != nil {
			t.Fatal(err)
		}
		if lost := (printed - offset).Abs(); lost > resolution(printed) {
			t.Errorf("%s is printed %s away, resolution %s", offset, lost, resolution(printed))
		}
	}
	for offset, want := range map[time.Duration]time.Duration{
		0: 1, 9_999_999: 1, 15 * time.Millisecond: 5, 37 * time.Second: 5 * time.Microsecond,
	} {
		if got := resolution(offset); got != want {
			t.Errorf("resolution(%s) = %s, want %s", offset, got, want)
		}
	}
}

// The dump has local - source; the sample has source - L. L may be anywhere.
func TestNewSampleTurnsTheSign(t *testing.T) {
	for name, test := range map[string]struct {
		localFast, lAhead, want time.Duration
	}{
		"local clock fast":                      {15 * time.Millisecond, 0, -15 * time.Millisecond},
		"local clock slow":                      {-15 * time.Millisecond, 0, 15 * time.Millisecond},
		"local clock right, L ahead":            {0, time.Second, -time.Second},
		"local clock fast, L behind as much":    {15 * time.Millisecond, -15 * time.Millisecond, 0},
		"local clock slow, L ahead of it still": {-5 * time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := DumpSample{RealtimeNS: 1_700_000_000_000_000_000, LocalFast: test.localFast}
			at := timescale.Instant(s.RealtimeNS).Add(test.lAhead)
			got := NewSample("ntp:a", s, at, sources.Quality{})
			if got.Offset != test.want || got.At != at {
				t.Errorf("offset %s at %d, want %s at %d", got.Offset, got.At, test.want, at)
			}
		})
	}
}

// chronyd's root values contain the peer's. The error of a sample, put together from its parts, is
// what chronyd calls root distance, plus the rounding of the file: nothing is counted twice.
func TestNewSampleCountsNothingTwice(t *testing.T) {
	s := dumpSample1()
	got := NewSample("ntp:a", s, timescale.Instant(s.RealtimeNS), sources.Quality{
		RootDelay: sources.Some(time.Hour), RootDispersion: sources.Some(time.Hour), Stratum: sources.Some(uint8(2))})
	want := sources.Sample{Source: "ntp:a", At: 1_700_000_000_123_456_789, Offset: -15 * time.Millisecond,
		Delay: sources.Some(200 * time.Microsecond), Dispersion: time.Microsecond + 5,
		Quality: sources.Quality{Stratum: sources.Some(uint8(2)),
			RootDelay: sources.Some(100 * time.Microsecond), RootDispersion: sources.Some(24 * time.Microsecond)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	distance := (got.Delay.Or(0)+got.Quality.RootDelay.Or(0))/2 + got.Dispersion + got.Quality.RootDispersion.Or(0)
	if chronyds := s.RootDelay/2 + s.RootDispersion; distance != chronyds+s.Resolution {
		t.Errorf("error %s, chronyd's root distance %s + resolution %s", distance, chronyds, s.Resolution)
	}
}

func TestServerShareIsNotNegative(t *testing.T) {
	if got := serverShare(100, 101); got != 0 {
		t.Errorf("got %s", got)
	}
}

// Whatever the file says: no panic, and what is accepted is within bounds and in order.
func FuzzParseDump(f *testing.F) {
	f.Add([]byte(dumpHead + "2 0\n" + dumpLine1 + dumpLine2))
	f.Add([]byte(dumpHead + "2 0\n" + dumpLine1))
	f.Add([]byte("SRC0\n.\n0 0 0 0 0\n1 0\n-1.000000000 1e400 0 0 0 0 0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frugal.Parse(t, len(data), func() {
			d, err := ParseDump(data)
			if err != nil && !errors.Is(err, ErrTruncated) || d == nil {
				return
			}
			if len(d.Samples) > maxDumpSamples {
				t.Fatalf("%d samples", len(d.Samples))
			}
			for i, s := range d.Samples {
				if s.RealtimeNS < 0 || s.PeerDelay < 0 || s.PeerDispersion < 0 || s.RootDelay < 0 || s.RootDispersion < 0 ||
					s.LocalFast.Abs() > maxDumpSeconds*time.Second || s.Resolution < 1 {
					t.Fatalf("sample %+v", s)
				}
				if i > 0 && s.RealtimeNS <= d.Samples[i-1].RealtimeNS {
					t.Fatalf("order: %+v", d.Samples)
				}
			}
		})
	})
}
