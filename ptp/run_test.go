package ptp

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/sources"
)

// answerAll answers each request with what a real ptp4l answered once, and refuses what is not captured.
func answerAll(t *testing.T) func([]byte) [][]byte {
	byID := map[protocol.ManagementID]string{
		idCurrentDataSet: "current_data_set", idDefaultDataSet: "default_data_set", idParentDataSet: "parent_data_set",
		idPortDataSet: "port_data_set", idPortPropertiesNP: "port_properties_np", idPortStatsNP: "port_stats_np",
		idTimePropertiesDataSet: "time_properties_data_set", idTimeStatusNP: "time_status_np",
	}
	return func(q []byte) [][]byte {
		if name, ok := byID[protocol.ManagementID(binary.BigEndian.Uint16(q[managementSize+tlvHeadSize:]))]; ok {
			return [][]byte{respond(t, name, q)}
		}
		b := respond(t, "not_supported", q)
		copy(b[managementSize+tlvHeadSize+2:], q[managementSize+tlvHeadSize:managementSize+tlvHeadSize+2])
		return [][]byte{b}
	}
}

// running is a Monitor that runs.
type running struct {
	t   *testing.T
	cfg Config
	out chan sources.Update
}

func run(t *testing.T, change ...func(*Config)) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "ptp") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, out: make(chan sources.Update), cfg: with(append(change, func(c *Config) { c.Dir = dir })...)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	m := NewMonitor(r.cfg, &steadyHost{}, Options{Poll: 20 * time.Millisecond, PHC: 20 * time.Millisecond}, slog.New(slog.DiscardHandler))
	go func() { done <- m.Run(ctx, r.out) }()
	t.Cleanup(func() {
		cancel()
		for {
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				_ = os.RemoveAll(dir) // /tmp: nobody misses it, nobody finds it
				return
			case <-r.out:
			case <-time.After(10 * time.Second):
				t.Error("the monitor has not ended")
				return
			}
		}
	})
	return r
}

// await reads updates until one has what is wanted.
func (r *running) await(what string, wanted func(sources.Update) bool) sources.Update {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case u := <-r.out:
			if wanted(u) {
				return u
			}
		case <-deadline:
			r.t.Fatalf("never came: %s", what)
		}
	}
}

func says(condition sources.Condition, part string) func(sources.Update) bool {
	return func(u sources.Update) bool {
		return len(u.Reports) > 0 && u.Reports[0].Condition == condition && strings.Contains(u.Reports[0].Detail, part)
	}
}

func TestAMonitorMeetsItsEngineLosesItAndMeetsTheNext(t *testing.T) {
	r := run(t)
	u := r.await("nobody there", says(sources.Unreachable, "ptp4l does not answer"))
	if u.Answered {
		t.Error("nobody answered")
	}
	for range 2 {
		engine := startFakeEngine(t, r.cfg.EngineSocket(), answerAll(t))
		u := r.await("an answer", func(u sources.Update) bool { return u.Answered })
		if q := u.Reports[0].Quality; q.Reference == "" || !q.ClockClass.Present() {
			t.Errorf("quality %+v", q)
		}
		engine.conn.Close()
		if err := os.Remove(engine.path); err != nil {
			t.Fatal(err)
		}
		r.await("gone", says(sources.Unreachable, "ptp4l does not answer"))
	}
}

// An engine that answers everything with garbage gives no sign of life: what restarts it looks for that.
func TestGarbageIsNoAnswer(t *testing.T) {
	r := run(t)
	startFakeEngine(t, r.cfg.EngineSocket(), func(q []byte) [][]byte {
		short := respond(t, "time_status_np", q)
		return [][]byte{[]byte("garbage"), nil, short[:len(short)/2], q}
	})
	for range 3 {
		if u := r.await("a report", func(u sources.Update) bool { return len(u.Reports) > 0 }); u.Answered || u.Reports[0].Condition != sources.Unreachable {
			t.Errorf("%+v", u)
		}
	}
}

func TestEventsReachTheMonitorThroughGarbageAndALostSocket(t *testing.T) {
	r := run(t)
	startFakeEngine(t, r.cfg.EngineSocket(), answerAll(t))
	r.await("an answer", func(u sources.Update) bool { return u.Answered })
	sync, err := parseRecords(unhex(t, realSync))
	if err != nil || len(sync.Syncs) == 0 {
		t.Fatal(err)
	}
	heard := func() bool {
		sendTo(t, r.cfg.EventMonitorSocket(), []byte("garbage"))
		sendTo(t, r.cfg.EventMonitorSocket(), unhex(t, realSync))
		u := r.await("a report", func(u sources.Update) bool { return len(u.Reports) > 0 })
		return !strings.Contains(u.Reports[0].Detail, "0 Sync received")
	}
	for _, lost := range []bool{false, true} {
		if lost {
			if err := os.Remove(r.cfg.EventMonitorSocket()); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(20 * time.Second); ; {
			if !removed(r.cfg.EventMonitorSocket()) && heard() {
				break
			}
			if r.await("a report", func(u sources.Update) bool { return len(u.Reports) > 0 }); time.Now().After(deadline) {
				t.Fatalf("no Sync was heard, socket lost before: %v", lost)
			}
		}
	}
}

// What ptp4l says unasked is looked at now, not at the next poll.
func TestANotificationIsFollowedByALook(t *testing.T) {
	dir := t.TempDir()
	cfg := with(func(c *Config) { c.Dir = dir })
	var mu sync.Mutex
	polls := 0
	answer := answerAll(t)
	engine := startFakeEngine(t, cfg.EngineSocket(), func(q []byte) [][]byte {
		if protocol.ManagementID(binary.BigEndian.Uint16(q[managementSize+tlvHeadSize:])) == idTimeStatusNP {
			mu.Lock()
			polls++
			mu.Unlock()
		}
		return answer(q)
	})
	p := poller{cfg: cfg, interval: time.Hour, log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	out, done := make(chan pollResult, 10), make(chan struct{})
	go func() { defer close(done); p.run(ctx, make(chan struct{}), out) }()
	if r := <-out; r.err != nil {
		t.Fatal(r.err)
	}
	notice := capture(t, "port_data_set")
	to := &net.UnixAddr{Name: cfg.ManagementSocket(), Net: "unixgram"}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := engine.conn.WriteToUnix(notice, to); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		n := polls
		mu.Unlock()
		if n > 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody looked")
		}
	}
	cancel()
	<-done
}

func TestAHardwareEngineWithoutItsPHCSaysSo(t *testing.T) {
	r := run(t, func(c *Config) { c.Mode, c.Interfaces = Hardware, []string{"lo"} })
	startFakeEngine(t, r.cfg.EngineSocket(), answerAll(t))
	r.await("the reason", func(u sources.Update) bool {
		return u.Answered && len(u.Reports) == 1 && u.Reports[0].Condition != sources.Measuring && len(u.Samples) == 0
	})
	if err := GrantPHC("lo", 1, 1); err == nil || !strings.Contains(err.Error(), "has no PHC") {
		t.Errorf("grant: %v", err)
	}
	if err := GrantPHC("none0", 1, 1); err == nil {
		t.Error("an interface that is not there has a PHC")
	}
	if _, err := OpenPHC("none0", &steadyHost{}); err == nil {
		t.Error("an interface that is not there has a PHC")
	}
}

// A device that is no PHC answers to none of the three ways, and says so.
func TestAFileThatIsNoPHC(t *testing.T) {
	f, err := os.Open(filepath.Join(t.TempDir(), "."))
	if err != nil {
		t.Fatal(err)
	}
	p := &PHC{ioctls: phcDevice{f}, host: &steadyHost{}}
	if _, err := p.Read(); err == nil || !strings.Contains(err.Error(), "supports none of") {
		t.Errorf("read: %v", err)
	}
	closePHC(p)
	closePHC(nil)
	if _, err := p.Read(); err == nil {
		t.Error("a device that is closed is read")
	}
}

func TestReleasesInWords(t *testing.T) {
	for release, want := range map[Release]string{{}: "unknown", {4, 2, 0}: "4.2", {3, 1, 1}: "3.1.1"} {
		if got := release.String(); got != want {
			t.Errorf("%+v: %q, want %q", release, got, want)
		}
	}
	_, err := ParseRelease(strings.Repeat("x", 200))
	if err == nil || len(fmt.Sprint(err)) > 120 {
		t.Errorf("a long answer: %v", err)
	}
}
