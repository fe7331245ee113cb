package supervisor

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/chrony"
	"clockarbiter/clock"
	"clockarbiter/configs"
	"clockarbiter/supervisor/process"
)

// speakGarbage answers every command to the socket of a chronyd with garbage, whatever becomes of the child:
// the race detector's memory is more than a child may have, so that this binary cannot be it.
func speakGarbage(ctx context.Context, path string) {
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			continue // the directory is not made yet, or the socket is there
		}
		_ = os.Chmod(path, 0o666)
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		request, answer := make([]byte, 4096), make([]byte, 1500)
		for {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			n, from, err := conn.ReadFromUnix(request)
			if _, gone := os.Lstat(path); gone != nil || ctx.Err() != nil {
				break // a new start has cleared the directory
			}
			if err != nil {
				continue
			}
			_, _ = rand.Read(answer) // never fails
			if n > 12 {
				copy(answer[16:20], request[8:12]) // the sequence is right, the rest is nonsense
			}
			_, _ = conn.WriteToUnix(answer, from) // it has given up
		}
		stop()
		conn.Close()
	}
}

// misbehave is a child of each kind that the supervision has to recognise, and what it says of it.
func (h *harbour) misbehave(t *testing.T) (children []Child, reasons map[string]string) {
	t.Helper()
	sh := func(name, script string) Child { return h.child(name, "/bin/sh", "-c", script) }
	for _, name := range []string{"mute", "looping", "crash"} {
		h.silent[name] = true
	}
	garbage := h.child("garbage", "/bin/sleep", "600")
	garbage.ptp, garbage.chrony = nil, &chrony.Config{Dir: garbage.Dir, Servers: []chrony.Server{{Name: "a", Address: "192.0.2.1"}}}
	go speakGarbage(h.ctx, garbage.chrony.CommandSocket())
	return []Child{
			sh("crash", "exit 3"), sh("looping", "while :; do :; done"), sh("shouting", "exec cat /dev/urandom"),
			h.child("mute", "/bin/sleep", "600"), h.child("stopped", "/bin/sleep", "600"),
			h.child("leak", "/usr/bin/tail", "/dev/zero"), garbage,
		}, map[string]string{
			"crash": "ended after", "looping": "it loops", "mute": "it hangs", "stopped": "stopped by a signal",
			"leak": "ended after", "garbage": "no answer",
		}
}

// disturbed is by how much a loop is late that had to wait for a child: each of them is waited for for longer.
const disturbed = 500 * time.Millisecond

// Every kind at once: each is recognised in bounded time, restarted with a growing pause and left alone
// when it fails on; a sound one among them is not touched, and the loop ticks on.
func TestEveryMisbehaviourIsRecognisedAndDisturbsNobody(t *testing.T) {
	h := newHarbour(t)
	h.cfg.Process.SampleTimeout = configs.Duration(3 * time.Second)
	h.cfg.Process.BackoffMax = configs.Duration(100 * time.Millisecond)
	bad, reasons := h.misbehave(t)
	build := h.fleet.build
	h.fleet.build = func(cfg *configs.Config, c Child, p Plan) *engine {
		e := build(cfg, c, p)
		if c.chrony != nil {
			e.adapters = func(c Child, host hostClock, log *slog.Logger) []adapter {
				return adapters(c, host, log, func() bool { return true })
			}
		}
		return e
	}

	r := newRig(t)
	host, err := clock.NewHost()
	if err != nil {
		t.Fatal(err)
	}
	r.now, r.interval, r.updates, r.events = host.Now, 50*time.Millisecond, h.updates, h.eventC
	r.loop.discipline = clock.NewDiscipline(clock.NewVirtual(host.Now, 0, 0), clock.DisciplineOptions{Interval: r.interval, MaxSlewPPM: 400, MaxFrequencyPPM: 500})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.loop.run(ctx) })
	var idle lateness // what this machine does to a loop that does nothing
	wg.Go(func() { tickIdly(ctx, r.interval, &idle) })
	defer wg.Wait()
	defer cancel()

	h.apply(h.ctx, h.cfg, harbourPlan(append(bad, h.child("good", "/bin/sleep", "600"))...))
	h.awaitRunning("good", "stopped")
	good := h.of("good").PID
	if err := unix.Kill(h.of("stopped").PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for name, reason := range reasons {
		h.await(name+" is recognised: "+reason, 30*time.Second, func() bool {
			for _, m := range r.journal.messages(MessageChild) {
				if strings.HasPrefix(m, name+" ") && strings.Contains(m, reason) {
					return true
				}
			}
			return false
		})
	}
	h.await("crash is in quarantine", 30*time.Second, func() bool { return h.of("crash").Phase == process.PhaseQuarantined.String() })
	if st := h.of("good"); st.PID != good || st.Restarts != 0 {
		t.Errorf("the good one was disturbed: %+v", st)
	}
	if st := h.of("shouting"); st.Phase != "running" || st.Restarts != 0 {
		t.Errorf("garbage on its output alone is no failure: %+v; %v", st, r.journal.messages(MessageChild))
	}
	cancel()
	wg.Wait()
	st, _ := r.snapshot()
	is, was := r.state.late.quantile(0.95), idle.quantile(0.95)
	t.Logf("%d ticks; 95 %% late by at most %v, of an idle loop beside it %v", st.Loop.Ticks, is, was)
	if is > 4*was+disturbed {
		t.Errorf("95 %% of the ticks were late by up to %v, of an idle loop beside it by %v", is, was)
	}
}

// tickIdly measures how late a ticker's ticks are taken where nothing is done with them.
func tickIdly(ctx context.Context, every time.Duration, h *lateness) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var next time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-tick.C:
			if !next.IsZero() {
				h.add(time.Since(next))
			}
			next = at.Add(every)
		}
	}
}

// One that hangs each time it is started is left alone like one that crashes.
func TestAChildThatHangsAgainAndAgainIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	h.cfg.Process.SampleTimeout = configs.Duration(500 * time.Millisecond)
	h.cfg.Process.BackoffMax = configs.Duration(100 * time.Millisecond)
	h.silent["mute"] = true
	h.apply(h.ctx, h.cfg, harbourPlan(h.child("mute", "/bin/sleep", "600")))
	ev := h.awaitEvent("mute", process.EventQuarantined, 2*time.Minute)
	starts := 0
	for _, e := range h.events {
		if e.Kind == process.EventStarted {
			starts++
		}
	}
	if starts != quarantineAfter || ev.Delay < quarantine/2 {
		t.Errorf("in quarantine for %v after %d starts, want %d", ev.Delay, starts, quarantineAfter)
	}
}
