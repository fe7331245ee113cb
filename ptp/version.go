package ptp

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Release is a release of linuxptp. The zero Release means unknown, and is rendered with what every
// release since 3.1 understands.
type Release struct {
	Major, Minor, Patch int
}

// Oldest is the oldest release that is supported: the first with both TLVs of the slave event
// monitor that exchange.go needs.
var Oldest = Release{Major: 3, Minor: 1}

// inclusiveNames is the release that renamed slaveOnly to clientOnly and got a read-only socket.
var inclusiveNames = Release{Major: 4}

// Before reports whether r is an earlier release than o.
func (r Release) Before(o Release) bool {
	if r.Major != o.Major {
		return r.Major < o.Major
	}
	if r.Minor != o.Minor {
		return r.Minor < o.Minor
	}
	return r.Patch < o.Patch
}

// Known reports whether r is a release at all.
func (r Release) Known() bool { return r != Release{} }

// String formats r as ptp4l does: "3.1.1", "4.2".
func (r Release) String() string {
	if !r.Known() {
		return "unknown"
	}
	if r.Patch == 0 {
		return fmt.Sprintf("%d.%d", r.Major, r.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", r.Major, r.Minor, r.Patch)
}

var releasePattern = regexp.MustCompile(`^v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?`)

// ParseRelease reads what `ptp4l -v` prints: "3.1.1", or "4.4-00012-gdeadbee" for a build between
// two releases.
func ParseRelease(s string) (Release, error) {
	m := releasePattern.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return Release{}, fmt.Errorf("%q is not a linuxptp version", clip(s, 60))
	}
	var r Release
	for i, part := range []*int{&r.Major, &r.Minor, &r.Patch} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return Release{}, fmt.Errorf("linuxptp version %q: %w", m[0], err)
		}
		*part = n
	}
	return r, nil
}

// Version asks the program at binary for its release. It fails when the program is missing, does
// not answer within 5 s, or is older than Oldest.
func Version(ctx context.Context, binary string) (Release, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var said answer
	cmd := exec.CommandContext(ctx, binary, "-v")
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, time.Second // what it has started may hold the pipe
	if err := cmd.Run(); err != nil {
		return Release{}, fmt.Errorf("run %s -v: %w", binary, err)
	}
	r, err := ParseRelease(said.String())
	if err != nil {
		return Release{}, fmt.Errorf("read %s -v: %w", binary, err)
	}
	if r.Before(Oldest) {
		return r, fmt.Errorf("%s is linuxptp %v; %v or later is needed", binary, r, Oldest)
	}
	return r, nil
}

// answer keeps the beginning of what a program says, which may have no end.
type answer struct{ strings.Builder }

// Write keeps what fits; it never fails, so that the program ends by itself or in time.
func (a *answer) Write(p []byte) (int, error) {
	const most = 4096
	a.Builder.Write(p[:min(len(p), max(0, most-a.Len()))]) // never fails (strings.Builder)
	return len(p), nil
}

// clip shortens foreign text for an error message.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}
