package ptp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// steadyHost is a host whose system clock is L, at an instant that the test sets.
type steadyHost struct{ now timescale.Instant }

func (h *steadyHost) Now() timescale.Instant                      { return h.now }
func (h *steadyHost) Local(ns int64) (timescale.Instant, error)   { return timescale.Instant(ns), nil }
func (h *steadyHost) FromMonotonicRaw(ns int64) timescale.Instant { return timescale.Instant(ns) }

func monitor(h HostClock, change ...func(*Config)) *Monitor {
	return NewMonitor(with(change...), h, Options{}, slog.New(slog.DiscardHandler))
}

func hardware(c *Config) { c.Mode, c.Interfaces = Hardware, []string{"eth0", "eth1"} }

// play hands the monitor seconds of records from a simulated master that is off by step.
func play(m *Monitor, n *network, from, to int64, wakeC chan struct{}) []sources.Sample {
	var got []sources.Sample
	for i := from; i < to; i++ {
		s, d := n.sync(i*1e9), n.request(i*1e9+5e8)
		got = append(got, m.received(Records{Syncs: []SyncRecord{{Parent: s.Parent, T1: s.T1, T2: int64(s.T2)}}}, wakeC).Samples...)
		got = append(got, m.received(Records{Delays: []DelayRecord{{Parent: d.Parent, T3: int64(d.T3), T4: d.T4}}}, wakeC).Samples...)
	}
	return got
}

func report(t *testing.T, u sources.Update, source sources.ID) sources.Report {
	t.Helper()
	for _, r := range u.Reports {
		if r.Source == source {
			return r
		}
	}
	t.Fatalf("no report of %s in %+v", source, u)
	return sources.Report{}
}

func TestSamplesAreUTCAndWaitForTheDataSetsOfTheirMaster(t *testing.T) {
	h, wakeC := &steadyHost{}, make(chan struct{}, 1)
	m, n := monitor(h), newNetwork(0)
	n.step = 37 * time.Second // the master serves TAI
	if got := play(m, n, 0, 10, wakeC); len(got) != 0 || len(wakeC) != 1 {
		t.Errorf("%d samples before the first poll; woken: %d", len(got), len(wakeC))
	}
	m.polled(pollResult{snapshot: snapshot(state(protocol.PortStateUncalibrated), func(s *Snapshot) { s.Parent.ParentPortIdentity = masterB })})
	if got := play(m, n, 10, 20, wakeC); len(got) != 0 {
		t.Errorf("%d samples with another master's data sets", len(got))
	}
	m.polled(pollResult{snapshot: snapshot(state(protocol.PortStateUncalibrated))})
	got := play(m, n, 20, 30, wakeC)
	if len(got) != 10 {
		t.Fatalf("%d samples of 10 Syncs", len(got))
	}
	for _, s := range got {
		if s.Offset.Abs() > 20*time.Microsecond || s.Source != "ptp:eth0:0" || !s.Quality.ClockClass.Is(6) || !s.Delay.Present() {
			t.Errorf("sample %+v", s)
		}
	}
	m.polled(pollResult{snapshot: snapshot(state(protocol.PortStateUncalibrated), flags(flagPTPTimescale))})
	if got := play(m, n, 30, 40, wakeC); len(got) != 0 {
		t.Errorf("%d samples on TAI without a UTC offset", len(got))
	}
}

func TestReportsFollowThePortAndTheSamples(t *testing.T) {
	h, wakeC := &steadyHost{now: timescale.Instant(epoch)}, make(chan struct{}, 1)
	m, n := monitor(h), newNetwork(0)
	n.step = 37 * time.Second
	uncalibrated := snapshot(state(protocol.PortStateUncalibrated))
	check := func(what string, r pollResult, want sources.Condition, says string) {
		t.Helper()
		got := report(t, m.polled(r), "ptp:eth0:0")
		if got.Condition != want || !strings.Contains(got.Detail, says) || got.At != h.now {
			t.Errorf("%s: %d %q", what, got.Condition, got.Detail)
		}
	}
	check("no engine", pollResult{err: errors.New("connection refused")}, sources.Unreachable, "connection refused")
	check("listening", pollResult{snapshot: snapshot(state(protocol.PortStateListening))}, sources.Unreachable, "LISTENING")
	check("no Sync yet", pollResult{snapshot: uncalibrated}, sources.Unsynchronised, "waiting for Sync")
	m.received(Records{Syncs: []SyncRecord{{Parent: masterA, T1: epoch, T2: epoch}}}, wakeC)
	check("no delay yet", pollResult{snapshot: uncalibrated}, sources.Unsynchronised, "1 Sync received, waiting for Delay_Resp")
	play(m, n, 1, 20, wakeC)
	h.now = n.local(20e9)
	check("measuring", pollResult{snapshot: uncalibrated}, sources.Measuring, "UNCALIBRATED")
	h.now = n.local(26e9)
	check("Sync stopped", pollResult{snapshot: uncalibrated}, sources.Unsynchronised, "last measurement 7s ago: 0 Sync received since")
	check("TAI unknown", pollResult{snapshot: snapshot(state(protocol.PortStateUncalibrated), flags(flagPTPTimescale))}, sources.Unsynchronised, "utc_offset")
	play(m, n, 26, 28, wakeC)
	slow := pollResult{err: fmt.Errorf("poll: %w", context.DeadlineExceeded)}
	for range toleratedMisses {
		if u := m.polled(slow); len(u.Reports) != 0 {
			t.Errorf("a late answer is reported: %+v", u)
		}
	}
	check("no answer for long", slow, sources.Unreachable, "deadline exceeded")
	check("engine lost", pollResult{err: errors.New("no answer")}, sources.Unreachable, "no answer")
	h.now = n.local(28e9)
	check("a new engine has to measure first", pollResult{snapshot: uncalibrated}, sources.Unsynchronised, "no measurement yet")
}

func TestPeerToPeerTakesTheLinkDelayFromThePort(t *testing.T) {
	h, wakeC := &steadyHost{now: timescale.Instant(epoch)}, make(chan struct{}, 1)
	m, n := monitor(h, func(c *Config) { c.DelayMechanism = "P2P" }), newNetwork(0)
	m.polled(pollResult{snapshot: snapshot(state(protocol.PortStateUncalibrated), flags(0))})
	if got := play(m, n, 0, 10, wakeC); len(got) != 0 {
		t.Errorf("%d samples before the peer delay is known", len(got))
	}
	m.polled(pollResult{snapshot: snapshot(state(protocol.PortStateUncalibrated), flags(0), func(s *Snapshot) { s.Ports[0].Data.PeerMeanPathDelay = protocol.TimeInterval(40_000 << 16) })})
	got := play(m, n, 10, 20, wakeC)
	if len(got) != 17 || !got[0].Delay.Is(80*time.Microsecond) { // of 10 Syncs and 7 that waited
		t.Errorf("samples %+v", got)
	}
}

// playHardware hands the monitor seconds of records from a simulated master, with timestamps of a PHC, and
// the readings of it.
func playHardware(m *Monitor, n *network, phc *steered, from, to int64, wakeC chan struct{}) []sources.Sample {
	stamp := func(at timescale.Instant) int64 { return phc.read(float64(int64(at)-epoch) / 1e9).Time }
	read := func(trueNS int64, r Records) []sources.Sample {
		reading := phc.read(float64(int64(n.local(trueNS))-epoch) / 1e9)
		return m.read(stamped{reading: reading, records: r}, wakeC).Samples
	}
	var got []sources.Sample
	for i := from; i < to; i++ {
		s, d := n.sync(i*1e9), n.request(i*1e9+5e8)
		got = append(got, read(i*1e9+2e6, Records{Syncs: []SyncRecord{{Parent: s.Parent, T1: s.T1, T2: stamp(s.T2)}}})...)
		read(i*1e9+25e7, Records{})
		got = append(got, read(i*1e9+502e6, Records{Delays: []DelayRecord{{Parent: d.Parent, T3: stamp(d.T3), T4: d.T4}}})...)
		read(i*1e9+75e7, Records{})
	}
	return got
}

func TestHardwareTimestampsArePlacedByThePHCAndMeasuredAsTheOthers(t *testing.T) {
	h, wakeC := &steadyHost{now: timescale.Instant(epoch)}, make(chan struct{}, 1)
	m, n := monitor(h, hardware), newNetwork(50)
	n.jitter = 0
	phc := &steered{offset: 1e9, ppm: -3} // nowhere near the master yet
	ports := func(first, second protocol.PortState) pollResult {
		return pollResult{snapshot: snapshot(flags(0), func(s *Snapshot) {
			s.Ports = []PortStatus{{Data: PortDataSet{PortState: first}}, {Data: PortDataSet{PortState: second}}}
		})}
	}
	second := func(state protocol.PortState) pollResult { return ports(protocol.PortStatePassive, state) }
	u := m.polled(second(protocol.PortStateUncalibrated))
	if r := report(t, u, "ptp:eth0:0"); r.Condition != sources.Unsynchronised || !strings.Contains(r.Detail, "PASSIVE") {
		t.Errorf("the other port: %+v", r)
	}
	got := playHardware(m, n, phc, 1, 6, wakeC)
	phc.turn(6.1, 40, -1e9+20) // ptp4l has stepped the PHC, and gone from UNCALIBRATED to SLAVE
	m.polled(second(protocol.PortStateSlave))
	got = append(got, playHardware(m, n, phc, 7, 12, wakeC)...)
	if len(got) != 8 { // all but the first, before any reading, and the one before the step
		t.Errorf("%d samples of 10 Syncs", len(got))
	}
	for i, s := range got {
		widest := time.Duration(500)
		if i < 2 {
			widest = 1000 // with the rate of two Syncs, and the one request there is
		}
		if e := (s.Offset - n.truth(s.At)).Abs(); e > 30 || s.Source != "ptp:eth1:0" || s.Dispersion > widest || !s.Delay.Present() {
			t.Errorf("off by %v: %+v", e, s)
		}
	}
	h.now = n.local(12e9)
	if r := report(t, m.polled(second(protocol.PortStateSlave)), "ptp:eth1:0"); r.Condition != sources.Measuring {
		t.Errorf("while measuring: %+v", r)
	}
	if r := report(t, m.polled(ports(protocol.PortStateListening, protocol.PortStateSlave)), "ptp:eth0:0"); !strings.Contains(r.Detail, "or eth1, which shares its PHC, is in use") {
		t.Errorf("a port beside the one in use: %+v", r)
	}
	m.read(stamped{err: errors.New("open PHC of eth0: gone")}, wakeC)
	if r := report(t, m.polled(second(protocol.PortStateSlave)), "ptp:eth1:0"); r.Condition != sources.Unsynchronised || !strings.Contains(r.Detail, "gone") {
		t.Errorf("without the device: %+v", r)
	}
	m.polled(second(protocol.PortStatePassive))
	if got := playHardware(m, n, phc, 13, 18, wakeC); len(got) != 0 || len(wakeC) != 1 {
		t.Errorf("%d samples without a port in use; woken: %d", len(got), len(wakeC))
	}
}

func TestOptionsAreBounded(t *testing.T) {
	for _, c := range []struct{ in, want Options }{
		{Options{}, Options{time.Second, 250 * time.Millisecond}},
		{Options{Poll: 1, PHC: 1}, Options{100 * time.Millisecond, 62500 * time.Microsecond}},
		{Options{Poll: 2 * time.Second, PHC: 125 * time.Millisecond}, Options{2 * time.Second, 125 * time.Millisecond}},
	} {
		if got := c.in.withDefaults(); got != c.want {
			t.Errorf("%+v becomes %+v", c.in, got)
		}
	}
}
