package vm_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/vm"
	"clockarbiter/supervisor"
)

const hardwareA = `
[[ptp.interface]]
name = "enp2s0"
domain = 0
transport = "L2"
timestamping = "hardware"
floor = "100ns"
`

const hardwareB = `
[[ptp.interface]]
name = "enp4s0"
domain = 24
transport = "UDPv4"
timestamping = "hardware"
floor = "100ns"
`

const threeNTP = `
[[ntp.server]]
address = "10.8.0.1"
iburst = true
minpoll = 0
maxpoll = 2

[[ntp.server]]
address = "10.8.0.2"
iburst = true
minpoll = 0
maxpoll = 2

[[ntp.server]]
address = "10.8.0.3"
iburst = true
minpoll = 0
maxpoll = 2
`

// The limits of the true error in virtual time.
const (
	byPHC = time.Microsecond
	// steady is the RMS while nothing happens: 3 to 8 ns were measured, 40 ns where the PHC's servo shows.
	steady = 20 * time.Nanosecond
	byNTP  = 10 * time.Microsecond
	// lied is what a source that lies may do to the clock before it is found out.
	lied = 40 * time.Microsecond
	// named is how soon it is found out.
	named = 3 * time.Second
)

// ordinaryPPB is by how much the host's oscillator is slow.
const ordinaryPPB = 25_000

// calibrationPPB is by how much more or less the guest's kernel may take its oscillator for: about one ppm was seen.
const calibrationPPB = 4000

// ordinary is the world of most tests: a host that is 10 ms and 25 ppm slow, grandmaster A and three NTP servers.
var ordinary = vm.WorldOptions{TruthPPB: ordinaryPPB, Behind: 10 * time.Millisecond, NTPServers: 3, NoB: true}

// both is the same with grandmaster B.
var both = vm.WorldOptions{TruthPPB: ordinaryPPB, Behind: 10 * time.Millisecond, NTPServers: 3}

// locked is a host in the world of these options, locked to this source.
func locked(t *testing.T, o vm.WorldOptions, toml, source string) (*vm.Guest, vm.World, vm.Host) {
	t.Helper()
	g := vm.Start(t, vm.Virtual)
	w, h := lockedIn(t, g, o, toml, source)
	return g, w, h
}

// lockedIn is the same in a guest that runs already.
func lockedIn(t *testing.T, g *vm.Guest, o vm.WorldOptions, toml, source string) (vm.World, vm.Host) {
	t.Helper()
	w := vm.NewWorld(t, g, o)
	h := vm.Install(t, g, toml)
	w.StartTrace(t, 250*time.Millisecond)
	h.Start(t)
	h.Await(t, "locked to "+source, 2*time.Minute, vm.Following(source))
	trace := w.CollectTrace(t)
	if after, ok := trace.Within(byPHC); ok {
		t.Logf("start: %v; within %v after %v", trace, byPHC, after)
	} else {
		t.Logf("start: %v; not within %v yet", trace, byPHC)
	}
	g.Sleep(t, 20*time.Second)
	return w, h
}

func atMost(t *testing.T, what string, got, limit time.Duration) {
	t.Helper()
	t.Logf("%s: %v", what, got)
	if got > limit {
		t.Errorf("%s: %v, want %v at most", what, got, limit)
	}
}

// TestHardwarePTP: ptp4l disciplines the PHC, clockarbiter the kernel clock. Then the grandmaster
// dies, and comes back.
func TestHardwarePTP(t *testing.T) {
	t.Parallel()
	g, w, h := locked(t, ordinary, hardwareA+threeNTP, sourceA)
	trace := w.Measure(t, time.Minute)
	t.Log("locked:", trace)
	atMost(t, "RMS of the true error", trace.RMS(), steady)
	if t.Failed() {
		t.Log(g.Run(t, "clockarbiter status; clockarbiter why; journalctl -u clockarbiter --no-pager -o short-monotonic | tail -n 60"))
	}

	w.StartTrace(t, 250*time.Millisecond)
	w.A().Kill(t)
	h.Await(t, "locked to NTP", 30*time.Second, vm.Following("ntp"))
	g.Sleep(t, time.Minute)
	trace = w.CollectTrace(t)
	t.Log("grandmaster dead:", trace)
	atMost(t, "true error after the grandmaster's death", trace.Max(), byNTP)
	promised(t, trace)

	w.StartTrace(t, 250*time.Millisecond)
	w.A().Start(t)
	h.Await(t, "locked to PTP again", 90*time.Second, vm.Following("ptp"))
	g.Sleep(t, 10*time.Second)
	trace = w.CollectTrace(t)
	t.Log("grandmaster back:", trace)
	atMost(t, "true error at the grandmaster's return", trace.Max(), byNTP)
	promised(t, trace)
	if n := trace.Steps(); n != 0 {
		t.Errorf("%d steps at the grandmaster's return", n)
	}
	unblamed(t, h)
}

// unblamed holds that nobody was called a liar, who was none.
func unblamed(t *testing.T, h vm.Host) {
	t.Helper()
	for _, e := range h.Journal(t, supervisor.MessageFaultRaised) {
		if slices.Contains([]string{"drift", "jump", "falseticker", "utc-offset", "disagreement", "no-majority", "majority-moved", "leap-disagreement"}, e["TO"]) {
			t.Errorf("all sources are honest: %s", e["MESSAGE"])
		}
	}
}

// TestGrandmasterLies: what the one PTP grandmaster says becomes wrong while three NTP servers know
// better.
func TestGrandmasterLies(t *testing.T) {
	t.Parallel()
	g, w, h := locked(t, both, hardwareB+threeNTP, sourceB)
	for i, tc := range []struct {
		name       string
		tell, mend func()
		heard      time.Duration // after which the host hears of it at the latest
	}{
		{"1 ms", func() { w.B().Lie(t, time.Millisecond) }, func() { w.B().Lie(t, -time.Millisecond) }, 0},
		{"15 ms", func() { w.B().Lie(t, 15*time.Millisecond) }, func() { w.B().Lie(t, -15*time.Millisecond) }, 0},
		{"37 s: UTC served as TAI", func() { w.B().Lie(t, -vm.UTCOffset) }, func() { w.B().Lie(t, vm.UTCOffset) }, 0},
		{"UTC offset of 36 s", func() { w.B().Advertise(t, vm.Settings{UTCOffset: 36}) }, func() { w.B().Advertise(t, vm.Settings{}) }, vm.AnnounceInterval},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.StartTrace(t, 250*time.Millisecond)
			since := g.Monotonic(t)
			tc.tell()
			atMost(t, "until the liar was named", awaitFault(t, g, h, sourceB, since, 30*time.Second, "jump", "falseticker", "utc-offset", "drift"), tc.heard+named)
			h.Await(t, "locked to NTP", 30*time.Second, vm.Following("ntp"))
			g.Sleep(t, 10*time.Second)
			st := h.Await(t, "keeping the liar out", time.Second, func(st supervisor.Status) bool { return state(st, sourceB) == "falseticker" })
			t.Log(reason(st, sourceB))
			trace := w.CollectTrace(t)
			t.Log(trace)
			atMost(t, "true error", trace.Max(), lied)
			promised(t, trace)
			if n := trace.Steps(); n != 0 {
				t.Errorf("%d steps", n)
			}
			tc.mend()
			if i > 0 { // who lies again and again is believed later and later, by who remembers
				g.Run(t, "systemctl stop clockarbiter; rm -rf /var/lib/clockarbiter/*; systemctl start clockarbiter")
			}
			// A lie between ptp4l's own first Syncs is another story: it steps the PHC then, and a timestamp is lost.
			h.Await(t, "locked to PTP again, and ptp4l too", 2*time.Minute, func(st supervisor.Status) bool {
				return vm.Following("ptp")(st) && strings.Contains(source(st, sourceB).Detail, "port is SLAVE")
			})
		})
	}
}

// linkDown: the driver resets the PHC to CLOCK_REALTIME, which is UTC, when the port comes up again:
// 37 s off.
func linkDown(t *testing.T) {
	g, w, h := locked(t, ordinary, hardwareA+threeNTP, sourceA)
	w.StartTrace(t, 250*time.Millisecond)
	g.Run(t, "ip link set enp2s0 down; sleep 5; ip link set enp2s0 up")
	h.Await(t, "locked to NTP", 30*time.Second, vm.Following("ntp"))
	h.Await(t, "locked to PTP again", 2*time.Minute, vm.Following("ptp"))
	g.Sleep(t, 20*time.Second)
	trace := w.CollectTrace(t)
	t.Log(trace)
	atMost(t, "true error over the reset of the PHC", trace.Max(), lied)
	promised(t, trace)
	if n := trace.Steps(); n != 0 {
		t.Errorf("%d steps", n)
	}
	unblamed(t, h)
}

// source is the first one whose name begins so, empty where there is none.
func source(st supervisor.Status, prefix string) supervisor.SourceStatus {
	i := slices.IndexFunc(st.Sources, func(s supervisor.SourceStatus) bool { return strings.HasPrefix(string(s.ID), prefix) })
	if i < 0 {
		return supervisor.SourceStatus{}
	}
	return st.Sources[i]
}

func state(st supervisor.Status, prefix string) string { return source(st, prefix).State }

func reason(st supervisor.Status, prefix string) string { return source(st, prefix).Reason }
