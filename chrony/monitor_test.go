package chrony

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// fixedClock is a HostClock at one instant, with L an hour ahead of CLOCK_REALTIME and nothing known
// before horizon.
type fixedClock struct{ horizon int64 }

func (fixedClock) Now() timescale.Instant { return 1_700_003_700_000_000_000 }

func (f fixedClock) Local(ns int64) (timescale.Instant, error) {
	if ns < f.horizon {
		return 0, errors.New("before all that is known")
	}
	return timescale.Instant(ns).Add(time.Hour), nil
}

// fakeMonitor is a Monitor of a fake chronyd with these servers.
func fakeMonitor(t *testing.T, state fakeState, servers ...Server) (*Monitor, *fakeChronyd) {
	t.Helper()
	c := Config{Dir: shortDir(t), Servers: servers}
	m := NewMonitor(c, fixedClock{}, slog.New(slog.DiscardHandler))
	m.client.timeout = 200 * time.Millisecond
	t.Cleanup(func() { m.client.Close() })
	return m, startFake(t, c.CommandSocket(), state.answer)
}

func goodSource(ip, name string) fakeSource {
	return fakeSource{address: Address{IP: netip.MustParseAddr(ip)}, name: name, reach: 0xff, poll: 0,
		ntp: ntpBody(0, 2, 0x7f000001, allTests, 9, 9, 9, 9)}
}

// heard is the source after n more good replies.
func (s fakeSource) heard(n uint32) fakeSource {
	s.ntp = ntpBody(0, 2, 0x7f000001, allTests, 9+n, 9+n, 9+n, 9+n)
	return s
}

func writeDump(t *testing.T, m *Monitor, ip, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.config.DumpDir(), ip+".dat"), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// dumpOf is a dump with samples at these seconds.
func dumpOf(stamps ...int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%d 0\n", dumpHead, len(stamps))
	for _, s := range stamps {
		fmt.Fprintf(&b, "%d.000000000 1.500000e-02 1.500000e-02 2.000000e-04 1.000000e-06 3.000000e-04 2.500000e-05\n", s)
	}
	return b.String()
}

// stamps are the times of an update's samples in seconds of CLOCK_REALTIME, by fixedClock.
func stamps(u sources.Update) []int {
	var out []int
	for _, s := range u.Samples {
		out = append(out, int(s.At.Add(-time.Hour)/1e9))
	}
	return out
}

func conditions(u sources.Update) map[sources.ID]string {
	out := map[sources.ID]string{}
	for _, r := range u.Reports {
		out[r.Source] = fmt.Sprintf("%d %s", r.Condition, r.Detail)
	}
	return out
}

func wantConditions(t *testing.T, when string, u sources.Update, want map[sources.ID]string) {
	t.Helper()
	if diff := cmp.Diff(want, conditions(u)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func wantStamps(t *testing.T, when string, u sources.Update, want ...int) {
	t.Helper()
	if diff := cmp.Diff(want, stamps(u), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: samples (-want +got):\n%s", when, diff)
	}
}

func TestMonitorSample(t *testing.T) {
	s := goodSource("192.0.2.1", "ntp.example.net")
	s.auth = authBody(AuthSymmetric, 7, 160, 0, 0)
	feed := fakeSource{address: Address{IP: netip.MustParseAddr("83.89.83.0")}, refclock: true}
	m, _ := fakeMonitor(t, fakeState{sources: []fakeSource{feed, s}}, Server{Address: "NTP.example.net"})
	writeDump(t, m, "192.0.2.1", dumpOf(1_700_000_000))
	got := m.Poll(t.Context())
	want := sources.Update{Answered: true,
		Samples: []sources.Sample{{Source: "ntp:NTP.example.net", At: 1_700_003_600_000_000_000,
			Offset: -time.Hour - 15*time.Millisecond, Delay: sources.Some(200 * time.Microsecond), Dispersion: time.Microsecond + 5,
			Quality: sources.Quality{Stratum: sources.Some(uint8(2)), RootDelay: sources.Some(100 * time.Microsecond),
				RootDispersion: sources.Some(24 * time.Microsecond), Leap: sources.Some(sources.LeapNone), Reference: "7F000001",
				Authenticated: sources.Some(true)}}},
		Reports: []sources.Report{{Source: "ntp:NTP.example.net", At: fixedClock{}.Now(), Condition: sources.Measuring,
			Reach: sources.Some(uint8(0xff)), Quality: sources.Quality{Stratum: sources.Some(uint8(2)), RootDelay: sources.Some(time.Duration(60)),
				RootDispersion: sources.Some(time.Duration(0)), Leap: sources.Some(sources.LeapNone), Reference: "7F000001", Authenticated: sources.Some(true)}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each sample is sent once: over polls, over a restart whose dump is shorter, over a dump that is
// cut, and also after a backward step of the system clock, when new samples have smaller times.
func TestMonitorSendsEachSampleOnce(t *testing.T) {
	a := goodSource("192.0.2.1", "a")
	m, f := fakeMonitor(t, fakeState{}, Server{Address: "a"})
	polls := uint32(0)
	poll := func(when, dump string, want ...int) {
		t.Helper()
		polls++
		f.set(fakeState{sources: []fakeSource{a.heard(polls)}}.answer)
		writeDump(t, m, "192.0.2.1", dump)
		wantStamps(t, when, m.Poll(t.Context()), want...)
	}
	poll("first", dumpOf(100, 101), 100, 101)
	poll("unchanged", dumpOf(100, 101))
	poll("one more", dumpOf(100, 101, 102), 102)
	poll("oldest forgotten", dumpOf(101, 102, 103), 103)
	whole := dumpOf(101, 102, 103, 104, 105)
	poll("cut in the last line", whole[:len(whole)-10], 104)
	poll("whole again", whole, 105)
	poll("restart", dumpOf(106), 106)
	poll("backward step", dumpOf(50), 50)
	poll("after the step", dumpOf(50, 51), 51)
}

// chronyd is made to write its samples only where its counters show that there may be a new one, and is asked
// once for what does not change.
func TestMonitorAsksForWhatMayBeNew(t *testing.T) {
	a, b := goodSource("192.0.2.1", "a"), goodSource("192.0.2.2", "b")
	b.auth = authBody(AuthSymmetric, 7, 160, 0, 0)
	m, f := fakeMonitor(t, fakeState{sources: []fakeSource{a, b}}, Server{Address: "a"}, Server{Address: "b"})
	poll := func(when string, dumps, names, auths int, now ...fakeSource) sources.Update {
		t.Helper()
		f.set(fakeState{sources: now}.answer)
		before := [3]int{f.asked(cmdDump), f.asked(cmdSourceName), f.asked(cmdAuthData)}
		u := m.Poll(t.Context())
		got := [3]int{f.asked(cmdDump) - before[0], f.asked(cmdSourceName) - before[1], f.asked(cmdAuthData) - before[2]}
		if want := [3]int{dumps, names, auths}; got != want {
			t.Errorf("%s: asked for dumps, names and authentication %v times, want %v", when, got, want)
		}
		return u
	}
	writeDump(t, m, "192.0.2.1", dumpOf(100))
	wantStamps(t, "first", poll("first", 1, 2, 2, a, b), 100)
	wantConditions(t, "nothing new", poll("nothing new", 0, 0, 1, a, b), map[sources.ID]string{"ntp:a": "3 ", "ntp:b": "3 "})
	writeDump(t, m, "192.0.2.1", dumpOf(100, 101))
	wantStamps(t, "a reply", poll("a reply", 1, 0, 1, a.heard(1), b), 101)
	writeDump(t, m, "192.0.2.1", dumpOf(100, 101, 102))
	late := a.heard(1)
	late.latest = 1<<25 | 1
	wantStamps(t, "a sample without one", poll("a sample without one", 1, 0, 1, late, b), 102)
	poll("silence", 0, 0, 1, late, b)
	writeDump(t, m, "192.0.2.1", dumpOf(100, 101, 102, 103)[:390])
	wantStamps(t, "cut", poll("cut", 1, 0, 1, late.heard(2), b))
	writeDump(t, m, "192.0.2.1", dumpOf(100, 101, 102, 103))
	wantStamps(t, "whole again", poll("whole again", 1, 0, 1, late.heard(2), b), 103)
	poll("another in its place", 1, 1, 2, goodSource("192.0.2.9", "a"), b)
	f.set(func(command, uint32, []byte) [][]byte { return nil })
	m.Poll(t.Context())
	poll("chronyd started again", 1, 2, 2, a.heard(3), b)
}

func TestMonitorNamesBadDumps(t *testing.T) {
	m, _ := fakeMonitor(t, fakeState{sources: []fakeSource{goodSource("192.0.2.1", "a"), goodSource("192.0.2.2", "b")}},
		Server{Address: "a"}, Server{Address: "b"})
	writeDump(t, m, "192.0.2.2", dumpOf(100))
	for name, test := range map[string]struct{ dump, want string }{
		"cut":           {dumpOf(100)[:60], "dump is cut short"},
		"empty":         {"", "dump is cut short"},
		"garbage":       {"garbage\n", "dump begins with"},
		"other version": {"SRC9\n", "dump begins with"},
	} {
		writeDump(t, m, "192.0.2.1", test.dump)
		u := m.Poll(t.Context())
		if detail := conditions(u)["ntp:a"]; !strings.Contains(detail, test.want) {
			t.Errorf("%s: %q, want %q", name, detail, test.want)
		}
		if detail := conditions(u)["ntp:b"]; detail != "3 " {
			t.Errorf("%s: the other source: %q", name, detail)
		}
	}
	path := filepath.Join(m.config.DumpDir(), "192.0.2.1.dat")
	remove(t, path)
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if detail := conditions(m.Poll(t.Context()))["ntp:a"]; !strings.Contains(detail, syscall.ELOOP.Error()) {
		t.Errorf("link: %q", detail)
	}
	remove(t, path)
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if detail := conditions(m.Poll(t.Context()))["ntp:a"]; !strings.Contains(detail, "dump is cut short") {
		t.Errorf("pipe: %q", detail)
	}
}

// Pool members are sources of their own; a pool without any is one, until it has.
func TestMonitorPools(t *testing.T) {
	unresolved := fakeSource{address: Address{ID: 1}, name: "pool.example.net"}
	m, f := fakeMonitor(t, fakeState{sources: []fakeSource{unresolved, {address: Address{ID: 2}, name: "pool.example.net"}}},
		Server{Address: "pool.example.net", Pool: true}, Server{Address: "2001:DB8::1"})
	u := m.Poll(t.Context())
	wantConditions(t, "unresolved", u, map[sources.ID]string{
		"ntp:pool.example.net": "1 name is not resolved",
		"ntp:2001:DB8::1":      "1 chronyd does not have it: its address may be another server's too"})
	f.set(fakeState{sources: []fakeSource{goodSource("192.0.2.8", "pool.example.net"), goodSource("192.0.2.7", "pool.example.net"),
		unresolved, goodSource("2001:db8::1", "2001:db8::1"), goodSource("192.0.2.99", "stranger")}}.answer)
	u = m.Poll(t.Context())
	wantConditions(t, "resolved", u, map[sources.ID]string{"ntp:pool.example.net/192.0.2.7": "3 ", "ntp:pool.example.net/192.0.2.8": "3 ",
		"ntp:2001:DB8::1": "3 ", "ntp:pool.example.net": "1 chronyd no longer has it"})
	for i := 1; i < len(u.Reports); i++ {
		if u.Reports[i-1].Source >= u.Reports[i].Source {
			t.Errorf("reports are not sorted: %v", u.Reports)
		}
	}
	f.set(fakeState{sources: []fakeSource{goodSource("192.0.2.8", "pool.example.net"), goodSource("2001:db8::1", "2001:db8::1")}}.answer)
	wantConditions(t, "member replaced", m.Poll(t.Context()), map[sources.ID]string{"ntp:pool.example.net/192.0.2.7": "1 chronyd no longer has it",
		"ntp:pool.example.net/192.0.2.8": "3 ", "ntp:2001:DB8::1": "3 "})
	wantConditions(t, "once", m.Poll(t.Context()), map[sources.ID]string{"ntp:pool.example.net/192.0.2.8": "3 ", "ntp:2001:DB8::1": "3 "})
}

// A chronyd that is missing, silent or garbled makes every source Unreachable, with the reason, and
// nothing else; when it is back, they are.
func TestMonitorWithoutChronyd(t *testing.T) {
	good := fakeState{sources: []fakeSource{goodSource("192.0.2.1", "a")}}
	m, f := fakeMonitor(t, good, Server{Address: "a"}, Server{Address: "pool", Pool: true})
	m.Poll(t.Context())
	truncate := good
	truncate.mangle = func(_ command, p []byte) []byte { return p[:len(p)-2] }
	for name, answer := range map[string]func(command, uint32, []byte) [][]byte{
		"silent":    func(command, uint32, []byte) [][]byte { return nil },
		"garbled":   func(command, uint32, []byte) [][]byte { return [][]byte{[]byte(strings.Repeat("x", 500))} },
		"truncated": truncate.answer,
		"refusing":  func(c command, s uint32, _ []byte) [][]byte { return [][]byte{reply(c, s, 1, 2, nil)} },
	} {
		f.set(answer)
		u := m.Poll(t.Context())
		for _, id := range []sources.ID{"ntp:a", "ntp:pool"} {
			if got := conditions(u)[id]; u.Answered || !strings.HasPrefix(got, "1 chronyd does not answer: chronyd ") {
				t.Errorf("%s: %s: %q", name, id, got)
			}
		}
	}
	f.set(good.answer)
	if got := conditions(m.Poll(t.Context()))["ntp:a"]; got != "3 " {
		t.Errorf("back: %q", got)
	}
	f.conn.Close()
	remove(t, m.config.CommandSocket())
	if got := conditions(m.Poll(t.Context()))["ntp:a"]; !strings.Contains(got, "no such file") {
		t.Errorf("missing socket: %q", got)
	}
}

// Samples count as raw only while chronyd's clock is CLOCK_REALTIME.
func TestMonitorDistrustsADriftedChronyd(t *testing.T) {
	state := fakeState{sources: []fakeSource{goodSource("192.0.2.1", "a")}, correction: 1<<25 | 1<<20} // 2^-4 s
	m, f := fakeMonitor(t, state, Server{Address: "a"})
	writeDump(t, m, "192.0.2.1", dumpOf(100))
	u := m.Poll(t.Context())
	wantStamps(t, "drifted", u)
	wantConditions(t, "drifted", u, map[sources.ID]string{"ntp:a": "2 samples are not raw: chronyd's clock is 62.5ms from CLOCK_REALTIME"})
	f.set(fakeState{sources: []fakeSource{goodSource("192.0.2.1", "a").heard(1)}}.answer)
	writeDump(t, m, "192.0.2.1", dumpOf(100, 101))
	u = m.Poll(t.Context())
	wantStamps(t, "back", u, 101)
	wantConditions(t, "back", u, map[sources.ID]string{"ntp:a": "3 "})
}

// A sample from before all that is known of the system clock is dropped; the others are not.
func TestMonitorDropsWhatCannotBeMapped(t *testing.T) {
	m, _ := fakeMonitor(t, fakeState{sources: []fakeSource{goodSource("192.0.2.1", "a")}}, Server{Address: "a"})
	m.clock = fixedClock{horizon: 101_000_000_000}
	writeDump(t, m, "192.0.2.1", dumpOf(100, 101))
	wantStamps(t, "mapped", m.Poll(t.Context()), 101)
}

func TestMonitorRunEndsWithItsContext(t *testing.T) {
	m, _ := fakeMonitor(t, fakeState{sources: []fakeSource{goodSource("192.0.2.1", "a")}}, Server{Address: "a"})
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan sources.Update)
	ended := make(chan error)
	go func() { ended <- m.Run(ctx, out) }()
	if u := <-out; len(u.Reports) != 1 {
		t.Errorf("update %+v", u)
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still running")
	}
	if _, err := os.Lstat(m.config.MonitorSocket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket is left: %v", err)
	}
}
