package leap

import (
	"testing"
	"time"
)

func TestTheKernelsUTCAroundALeapSecond(t *testing.T) {
	const midnight = 1_798_761_600 // 2027-01-01
	for _, c := range []struct {
		by             int
		tai            int64 // seconds
		offset         int64 // seconds
		indicator      int
		secondOfTheDay string
	}{
		{1, midnight + 36, 37, 1, "23:59:59"},
		{1, midnight + 37, 38, 0, "23:59:59"}, // the inserted second
		{1, midnight + 38, 38, 0, "00:00:00"},
		{-1, midnight + 35, 37, 2, "23:59:58"},
		{-1, midnight + 36, 36, 0, "00:00:00"},
		{0, midnight + 38, 37, 0, "00:00:01"},
	} {
		s := Scale{offset: 37 * time.Second, by: c.by, at: midnight}
		offset, indicator := s.Offset(c.tai*1e9)/1e9, s.Indicator(c.tai*1e9)
		shows := time.Unix(c.tai-offset, 0).UTC().Format(time.TimeOnly)
		if offset != c.offset || indicator != c.indicator || shows != c.secondOfTheDay {
			t.Errorf("leap second %+d, %+d s after midnight: TAI - UTC %d, indicator %d, %s; want %d, %d, %s",
				c.by, c.tai-midnight-37, offset, indicator, shows, c.offset, c.indicator, c.secondOfTheDay)
		}
	}
}
