package chrony

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// dumpVersion is the first line of a dump file in chrony 4.1 to 4.8.
const dumpVersion = "SRC0"

// The limits of a dump. chronyd keeps at most 64 samples of a source; values beyond the others are
// refused by chronyd itself when it reloads a dump, or cannot be stored in nanoseconds.
const (
	maxDumpSamples = 64
	maxDumpSeconds = 1e6
	maxDumpStamp   = math.MaxInt64/int64(time.Second) - 1
)

// ErrTruncated means that a dump file ends before what its header announces: it was read while
// chronyd wrote it, or the disk is full.
var ErrTruncated = errors.New("dump is cut short")

// Dump is the content of one .dat file: what chronyd remembers of one source.
type Dump struct {
	// Name is the source's name as it was configured, "." for a reference clock.
	Name string
	// Authenticated tells whether the source is configured with a key or NTS.
	Authenticated bool
	// Reach is the reachability register, newest poll in the lowest bit; ReachSize counts the
	// polls that it holds, 0 to 8.
	Reach     uint8
	ReachSize int
	// Stratum and Leap are those of the last packet that was good for synchronisation.
	Stratum uint8
	Leap    uint8
	// Samples are in the order of their times, oldest first.
	Samples []DumpSample
}

// DumpSample is one line of a dump, with chronyd's sign and chronyd's sums.
type DumpSample struct {
	// RealtimeNS is CLOCK_REALTIME in the middle of the exchange, in nanoseconds.
	RealtimeNS int64
	// LocalFast is local - source. Positive: the local clock is fast. This is the opposite of
	// every other offset in this program.
	LocalFast time.Duration
	// Resolution is half a unit of the last digit that the file has of LocalFast: the decimal
	// mantissa has seven digits, so that it is 5 ns at 15 ms and 5 us at 37 s.
	Resolution time.Duration
	// PeerDelay and PeerDispersion belong to the path between here and the server.
	PeerDelay, PeerDispersion time.Duration
	// RootDelay and RootDispersion lead from here to the reference: they contain the peer's.
	RootDelay, RootDispersion time.Duration
}

// ParseDump reads a dump file. On ErrTruncated the dump holds the whole lines before the cut; on
// any other error it is nil. A line without its line break is never used: "1.5e-0" may have been
// "1.5e-05".
func ParseDump(data []byte) (*Dump, error) {
	lines := wholeLines(data)
	if len(lines) > 0 && lines[0] != dumpVersion {
		return nil, fmt.Errorf("dump begins with %q, not with %q", abbreviate(lines[0]), dumpVersion)
	}
	if len(lines) < 4 {
		return nil, fmt.Errorf("%w: %d of 4 header lines", ErrTruncated, len(lines))
	}
	d := &Dump{Name: lines[1]}
	if err := d.parseState(lines[2]); err != nil {
		return nil, err
	}
	n, err := parseCount(lines[3])
	if err != nil {
		return nil, err
	}
	return d, d.parseSamples(lines[4:], n)
}

// parseState reads "authenticated reach(octal) size stratum leap".
func (d *Dump) parseState(line string) error {
	f := strings.Fields(line)
	if len(f) != 5 {
		return fmt.Errorf("dump state %q: want 5 fields", abbreviate(line))
	}
	var v [5]uint64
	for i, base := range [5]int{10, 8, 10, 10, 10} {
		n, err := strconv.ParseUint(f[i], base, 8)
		if err != nil {
			return fmt.Errorf("dump state %q: field %d: %w", abbreviate(line), i+1, err)
		}
		v[i] = n
	}
	if v[0] > 1 || v[2] > 8 || v[3] > 16 || v[4] > 3 {
		return fmt.Errorf("dump state %q: out of range", abbreviate(line))
	}
	d.Authenticated, d.Reach, d.ReachSize = v[0] == 1, uint8(v[1]), int(v[2])
	d.Stratum, d.Leap = uint8(v[3]), uint8(v[4])
	return nil
}

// parseCount reads "samples asymmetry-run".
func parseCount(line string) (int, error) {
	f := strings.Fields(line)
	if len(f) != 2 {
		return 0, fmt.Errorf("dump count %q: want 2 fields", abbreviate(line))
	}
	n, err := strconv.Atoi(f[0])
	if err != nil || n < 1 || n > maxDumpSamples {
		return 0, fmt.Errorf("dump count %q: want 1 to %d samples", abbreviate(line), maxDumpSamples)
	}
	return n, nil
}

// parseSamples reads n lines and insists on times that increase.
func (d *Dump) parseSamples(lines []string, n int) error {
	if len(lines) > n {
		return fmt.Errorf("dump has %d samples and announces %d", len(lines), n)
	}
	for i, line := range lines {
		s, err := parseSample(line)
		if err != nil {
			return fmt.Errorf("dump sample %d of %d: %w", i+1, n, err)
		}
		if i > 0 && s.RealtimeNS <= d.Samples[i-1].RealtimeNS {
			return fmt.Errorf("dump sample %d of %d: its time %d ns is not after the one before", i+1, n, s.RealtimeNS)
		}
		d.Samples = append(d.Samples, s)
	}
	if len(lines) < n {
		return fmt.Errorf("%w: %d of %d samples", ErrTruncated, len(lines), n)
	}
	return nil
}

// parseSample reads "time offset original-offset peer-delay peer-dispersion root-delay
// root-dispersion", all in seconds. The original offset is what the offset was before chronyd's
// clock moved; that clock does not move here.
func parseSample(line string) (DumpSample, error) {
	f := strings.Fields(line)
	if len(f) != 7 {
		return DumpSample{}, fmt.Errorf("%q: want 7 fields", abbreviate(line))
	}
	stamp, err := parseStamp(f[0])
	if err != nil {
		return DumpSample{}, err
	}
	var v [6]time.Duration
	for i := range v {
		if v[i], err = parseSeconds(f[i+1]); err != nil {
			return DumpSample{}, err
		}
	}
	s := DumpSample{RealtimeNS: stamp, LocalFast: v[0], Resolution: resolution(v[0]),
		PeerDelay: v[2], PeerDispersion: v[3], RootDelay: v[4], RootDispersion: v[5]}
	if s.PeerDelay < 0 || s.PeerDispersion < 0 || s.RootDelay < 0 || s.RootDispersion < 0 {
		return DumpSample{}, fmt.Errorf("%q: negative delay or dispersion", abbreviate(line))
	}
	return s, nil
}

// parseStamp reads "seconds.nanoseconds" without a detour over floating point, which holds a time
// of today to 238 ns only.
func parseStamp(s string) (int64, error) {
	sec, frac, ok := strings.Cut(s, ".")
	if !ok || len(frac) != 9 {
		return 0, fmt.Errorf("time %q: want nine decimals", abbreviate(s))
	}
	a, err := strconv.ParseUint(sec, 10, 63)
	if err != nil || int64(a) > maxDumpStamp {
		return 0, fmt.Errorf("time %q: seconds out of range", abbreviate(s))
	}
	b, err := strconv.ParseUint(frac, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("time %q: %w", abbreviate(s), err)
	}
	return int64(a)*int64(time.Second) + int64(b), nil
}

// parseSeconds reads a decimal number of seconds and rounds it to nanoseconds.
func parseSeconds(s string) (time.Duration, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("number %q: %w", abbreviate(s), err)
	}
	if !(math.Abs(v) < maxDumpSeconds) {
		return 0, fmt.Errorf("number %q: out of range", abbreviate(s))
	}
	return seconds(v), nil
}

// seconds converts to a Duration, rounded to the nearest nanosecond.
func seconds(v float64) time.Duration { return time.Duration(math.Round(v * 1e9)) }

// resolution returns half a unit in the seventh digit of v, at least half a nanosecond, rounded up.
func resolution(v time.Duration) time.Duration {
	unit := time.Duration(1)
	for limit := 10 * time.Millisecond; limit <= v.Abs(); limit *= 10 {
		unit *= 10
	}
	return (unit + 1) / 2
}

// wholeLines splits data at its line breaks and drops what follows the last one.
func wholeLines(data []byte) []string {
	lines := strings.Split(string(data), "\n")
	return lines[:len(lines)-1]
}

// abbreviate keeps an error about garbage readable.
func abbreviate(s string) string {
	const limit = 80
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}
