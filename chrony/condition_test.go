package chrony

import (
	"strings"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

func TestCondition(t *testing.T) {
	now := timescale.Instant(1_700_000_000_000_000_000)
	recent, old := sources.Some(now.Add(-8*time.Second)), sources.Some(now.Add(-9*time.Second))
	reached := Source{Address: address1, Reach: 0xff}
	unreached := Source{Address: address1}
	good := NTPData{Stratum: 2, Tests: allTests, Sent: 9, Received: 9, Valid: 9, Good: 9}
	with := func(change func(*NTPData)) counters {
		n := good
		change(&n)
		return counters{last: n, heardAt: recent, validAt: recent}
	}
	for name, test := range map[string]struct {
		source   Source
		auth     AuthData
		counters counters
		want     sources.Condition
		detail   string
	}{
		"good":                      {reached, AuthData{}, counters{last: good}, sources.Measuring, ""},
		"name not resolved":         {Source{Address: Address{ID: 3}}, AuthData{}, counters{}, sources.Unreachable, "name is not resolved"},
		"NTS without keys":          {unreached, AuthData{Mode: AuthNTS, Attempts: 4}, counters{}, sources.Unsynchronised, "NTS keys are not established after 4 attempts"},
		"NTS with keys":             {reached, AuthData{Mode: AuthNTS, KeyBits: 256}, counters{last: good}, sources.Measuring, ""},
		"key missing":               {unreached, AuthData{Mode: AuthSymmetric, KeyID: 8}, counters{}, sources.Unsynchronised, "key 8 is not in the key file"},
		"nothing sent":              {unreached, AuthData{}, counters{}, sources.Unreachable, "no request sent yet"},
		"never answered":            {unreached, AuthData{}, counters{last: NTPData{Sent: 5}}, sources.Unreachable, "no reply to 5 requests"},
		"fell silent":               {unreached, AuthData{}, counters{last: good, heardAt: old, validAt: old}, sources.Unreachable, "no reply in the last 8 polls"},
		"only invalid replies":      {unreached, AuthData{}, counters{last: NTPData{Sent: 5, Received: 5}, heardAt: recent}, sources.Unsynchronised, "all 5 replies fail"},
		"server not synchronised":   {unreached, AuthData{}, with(func(n *NTPData) { n.Leap, n.Stratum, n.Tests = 3, 0, n.Tests&^testSynchronised }), sources.Unsynchronised, "leap indicator 3, stratum 0"},
		"stratum 16":                {unreached, AuthData{}, with(func(n *NTPData) { n.Stratum, n.Tests = 16, n.Tests&^testSynchronised }), sources.Unsynchronised, "stratum 16"},
		"kiss code":                 {reached, AuthData{}, with(func(n *NTPData) { n.Leap, n.Stratum, n.RefID, n.Tests = 3, 0, 0x52415445, n.Tests&^testSynchronised }), sources.Unsynchronised, "kiss code RATE"},
		"root distance":             {unreached, AuthData{}, with(func(n *NTPData) { n.RootDispersion, n.Tests = 17*time.Second, n.Tests&^testRootDistance }), sources.Unsynchronised, "root dispersion 17s"},
		"eight samples lost":        {reached, AuthData{}, counters{last: NTPData{Valid: 9, Tests: allTests &^ 8}, fruitless: 8}, sources.Unsynchronised, "no sample from the last 8 replies, which fail tests A (maximum delay)"},
		"one sample lost":           {reached, AuthData{}, counters{last: NTPData{Valid: 9, Tests: allTests &^ 1}, fruitless: 1}, sources.Measuring, "last reply failed tests D (synchronisation loop)"},
		"polls lost":                {Source{Address: address1, Reach: 0xf8}, AuthData{}, counters{last: good}, sources.Measuring, "no good reply to the last 3 polls"},
		"heard, nothing valid told": {reached, AuthData{}, counters{last: NTPData{Sent: 1, Received: 1}, heardAt: recent, validAt: recent}, sources.Measuring, "no sample yet"},
	} {
		t.Run(name, func(t *testing.T) {
			got, detail := condition(test.source, test.auth, &test.counters, now)
			if got != test.want || !strings.Contains(detail, test.detail) || test.detail == "" && detail != "" {
				t.Errorf("%d %q, want %d %q", got, detail, test.want, test.detail)
			}
		})
	}
}

// Counters that fall are those of a chronyd started again: what it has heard, it has heard now.
func TestCountersOfARestart(t *testing.T) {
	var c counters
	c.advance(NTPData{Received: 100, Valid: 100, Good: 90}, false, 1)
	c.advance(NTPData{Received: 100, Valid: 100, Good: 90}, false, 2)
	if !c.heardAt.Is(1) || !c.validAt.Is(1) {
		t.Errorf("nothing new, and yet heard at %s", c.heardAt)
	}
	c.advance(NTPData{}, false, 3)
	if !c.heardAt.Is(1) {
		t.Errorf("heard at %s of a chronyd that has heard nothing", c.heardAt)
	}
	c.advance(NTPData{Received: 5, Valid: 5}, false, 4)
	if !c.heardAt.Is(4) || !c.validAt.Is(4) || c.fruitless != 5 {
		t.Errorf("heard at %s, valid at %s, %d fruitless, want 4, 4, 5", c.heardAt, c.validAt, c.fruitless)
	}
}

// chrony 4.1 and 4.2 do not count good packets: a new sample in the dump is as good.
func TestFruitlessRepliesWithoutACountOfGoodOnes(t *testing.T) {
	var c counters
	c.advance(NTPData{Valid: 7}, false, 1)
	c.advance(NTPData{Valid: 9}, true, 2)
	c.advance(NTPData{Valid: 12}, false, 3)
	if c.fruitless != 3 {
		t.Errorf("%d fruitless replies, want 3", c.fruitless)
	}
}

func TestPollInterval(t *testing.T) {
	for log2, want := range map[int]time.Duration{-6: 15625 * time.Microsecond, -2: 250 * time.Millisecond, 0: time.Second, 10: 1024 * time.Second, -100: 15625 * time.Microsecond} {
		if got := pollInterval(log2); got != want {
			t.Errorf("2^%d s = %s, want %s", log2, got, want)
		}
	}
}

func TestMonitorPeriodFollowsTheFastestServer(t *testing.T) {
	for _, test := range []struct {
		name    string
		servers []Server
		want    time.Duration
	}{
		{"defaults", []Server{{Address: "a"}}, time.Second},
		{"no servers", nil, time.Second},
		{"two a second", []Server{{Address: "a"}, {Address: "b", MinPoll: ptr(-1)}}, 500 * time.Millisecond},
		{"sixty-four a second", []Server{{Address: "a", MinPoll: ptr(-6)}}, 250 * time.Millisecond},
	} {
		if got := monitorPeriod(test.servers); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
