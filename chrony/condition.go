package chrony

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// reachPolls is the length of the reachability register (RFC 5905, 13).
const reachPolls = 8

// The tests that ntpdata shows, highest bit first: 1, 2, 3, 5, 6, 7 of RFC 5905, then chronyd's own.
// A set bit is a test that was passed.
const (
	testSynchronised uint16 = 1 << 5
	testRootDistance uint16 = 1 << 4
	testsOfSample    uint16 = 1<<3 | 1<<2 | 1<<1 | 1<<0
	allTests         uint16 = 1<<10 - 1
)

// testNames are in the order of the bits, lowest first.
var testNames = [10]string{
	"D (synchronisation loop)", "C (delay deviation)", "B (delay ratio)", "A (maximum delay)",
	"7 (root distance)", "6 (server synchronised)", "5 (authentication)", "3 (timestamps)", "2 (bogus)", "1 (duplicate)",
}

// failedTests names the tests that the last valid packet failed, highest bit first.
func failedTests(tests uint16) string {
	var names []string
	for i := len(testNames) - 1; i >= 0; i-- {
		if tests&(1<<i) == 0 {
			names = append(names, testNames[i])
		}
	}
	return strings.Join(names, ", ")
}

// counters remembers when chronyd's counters of one source last moved. chronyd's reachability
// register is cleared by replies of an unsynchronised server too; only the counters tell a server
// that is silent from one that answers and is no good.
type counters struct {
	last             NTPData
	heardAt, validAt sources.Optional[timescale.Instant]
	// fruitless counts valid replies since the last that became a sample.
	fruitless uint32
}

// advance takes the counters of one poll, and whether the dump had a new sample: before chrony 4.3
// there is no count of good packets. Numbers that fall are those of a chronyd started again.
func (c *counters) advance(n NTPData, gained bool, now timescale.Instant) {
	if n.Received > c.last.Received || n.Received < c.last.Received && n.Received > 0 {
		c.heardAt = sources.Some(now)
	}
	switch {
	case gained, n.Good != c.last.Good:
		c.fruitless = 0
	case n.Valid > c.last.Valid:
		c.fruitless += n.Valid - c.last.Valid
	}
	if n.Valid > c.last.Valid || n.Valid < c.last.Valid && n.Valid > 0 {
		c.validAt = sources.Some(now)
	}
	c.last = n
}

// within reports whether an instant is known and lies at most a reachability register back.
func within(at sources.Optional[timescale.Instant], now timescale.Instant, pollLog2 int) bool {
	t, ok := at.Get()
	return ok && now.Sub(t) <= reachPolls*pollInterval(pollLog2)
}

// pollInterval returns 2^log2 seconds, limited to what NTP allows (-6 to 17).
func pollInterval(log2 int) time.Duration {
	log2 = min(max(log2, -6), 17)
	if log2 < 0 {
		return time.Second >> -log2
	}
	return time.Second << log2
}

// condition says what is to be thought of a source, and why in words. The first test that the
// source fails decides.
func condition(s Source, a AuthData, c *counters, now timescale.Instant) (sources.Condition, string) {
	n := c.last
	switch {
	case !s.Address.Resolved():
		return sources.Unreachable, "name is not resolved"
	case a.Mode == AuthNTS && !a.Established():
		return sources.Unsynchronised, fmt.Sprintf("NTS keys are not established after %d attempts", a.Attempts)
	case a.Mode == AuthSymmetric && !a.Established():
		return sources.Unsynchronised, fmt.Sprintf("key %d is not in the key file", a.KeyID)
	case s.Reach == 0 && !within(c.heardAt, now, s.PollLog2):
		return sources.Unreachable, silence(n)
	case s.Reach == 0 && !within(c.validAt, now, s.PollLog2):
		return sources.Unsynchronised, fmt.Sprintf("all %d replies fail the packet tests 1 to 5 (duplicate, bogus, timestamps, authentication)", n.Received-n.Valid)
	case n.Valid == 0:
		return sources.Measuring, "no sample yet"
	case n.Tests&testSynchronised == 0:
		return sources.Unsynchronised, unsynchronised(n)
	case n.Tests&testRootDistance == 0:
		return sources.Unsynchronised, fmt.Sprintf("root distance too large: root delay %s, root dispersion %s", n.RootDelay, n.RootDispersion)
	case c.fruitless >= reachPolls:
		return sources.Unsynchronised, fmt.Sprintf("no sample from the last %d replies, which fail tests %s", c.fruitless, failedTests(n.Tests))
	}
	return sources.Measuring, blemish(s, n)
}

// silence says how a source that is not heard has been asked.
func silence(n NTPData) string {
	switch {
	case n.Sent == 0:
		return "no request sent yet"
	case n.Received == 0:
		return fmt.Sprintf("no reply to %d requests", n.Sent)
	}
	return fmt.Sprintf("no reply in the last %d polls", reachPolls)
}

// unsynchronised says what the server says of itself; stratum 0 carries a kiss code (RFC 5905, 7.4).
func unsynchronised(n NTPData) string {
	switch {
	case n.Stratum == 0 && n.RefID != 0:
		return fmt.Sprintf("kiss code %s, leap indicator %d", referenceText(n), n.Leap)
	default:
		return fmt.Sprintf("server is not synchronised: leap indicator %d, stratum %d", n.Leap, n.Stratum)
	}
}

// blemish says what is not perfect about a source that measures.
func blemish(s Source, n NTPData) string {
	var words []string
	if missed := bits.TrailingZeros8(s.Reach); s.Reach != 0 && missed > 0 {
		words = append(words, fmt.Sprintf("no good reply to the last %d polls", missed))
	}
	if n.Tests&testsOfSample != testsOfSample {
		words = append(words, "last reply failed tests "+failedTests(n.Tests|^(testsOfSample)&allTests))
	}
	return strings.Join(words, "; ")
}
