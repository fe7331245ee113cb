// Package leap is how the programs of the test guest that serve or read the truth see UTC: a PHC's time, TAI, less
// an offset that a leap second changes.
package leap

import (
	"flag"
	"time"
)

// Scale is UTC as the kernel counts it, without a name for the inserted second.
type Scale struct {
	offset time.Duration // TAI - UTC before the leap second
	by     int           // seconds by which the leap second changes it: 1 inserted, -1 deleted, 0 none
	at     int64         // midnight after the leap second, UTC, seconds since 1970
}

// Flags defines the scale's flags.
func (s *Scale) Flags() {
	flag.DurationVar(&s.offset, "utc-offset", 37*time.Second, "what the PHC is ahead of UTC")
	flag.IntVar(&s.by, "leap-by", 0, "the leap second: 1 is inserted, -1 deleted, 0 none")
	flag.Int64Var(&s.at, "leap-at", 0, "the midnight after the leap second, UTC, in seconds since 1970")
}

// Offset is TAI - UTC at an instant in TAI, ns. The kernel inserts a second by counting the last one of the
// day twice, and deletes it by going to midnight in its place.
func (s *Scale) Offset(tai int64) int64 {
	if s.leapt(tai) {
		return int64(s.offset) + int64(s.by)*int64(time.Second)
	}
	return int64(s.offset)
}

func (s *Scale) leapt(tai int64) bool {
	return s.by != 0 && tai >= s.at*1e9+int64(s.offset)+min(int64(s.by), 0)*int64(time.Second)
}

// Indicator is what an NTP server says of it (RFC 5905, figure 9).
func (s *Scale) Indicator(tai int64) int {
	switch {
	case s.by == 0 || s.leapt(tai):
		return 0
	case s.by > 0:
		return 1
	}
	return 2
}
