package story

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// The clock that the story begins with.
const (
	initialOffset  = 15 * time.Millisecond
	frequencyError = 40.0 // ppm
)

// configuration is the supervisor's: a virtual clock, one PTP interface, the NTP servers polled each
// second. domain is the grandmaster's.
func configuration(dir, ptpInterface string, domain int, tools map[string]string, servers []netip.Addr) string {
	var b strings.Builder
	fmt.Fprintf(&b, `[clock]
driver = "virtual"

[clock.virtual]
initial_offset = %q
frequency_error_ppm = %.1f

[paths]
run_dir = "%[3]s/run"
state_dir = "%[3]s/state"

[log]
format = "json"

[ptp]
ptp4l = %[4]q

[[ptp.interface]]
name = %[5]q
domain = %[6]d
timestamping = "software"

[ntp]
chronyd = %[7]q
`, initialOffset, frequencyError, dir, tools["ptp4l"], ptpInterface, domain, tools["chronyd"])
	for _, server := range servers {
		fmt.Fprintf(&b, `
[[ntp.server]]
address = %q
minpoll = 0
maxpoll = 0
iburst = true
`, server)
	}
	return b.String()
}
