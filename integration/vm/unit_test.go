package vm_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/vm"
	"clockarbiter/supervisor"
)

// exposure is what systemd-analyze security may count of the unit without drop-ins. What remains is what the
// program is for: the clock, the host's network, users for the children, and to see who else writes to the clock.
const exposure = 2.5

// property of the unit, as systemctl show prints it.
func property(t *testing.T, g *vm.Guest, name string) string {
	t.Helper()
	return strings.TrimSpace(g.Run(t, "systemctl show --value -p "+name+" clockarbiter"))
}

func active(t *testing.T, g *vm.Guest, unit string) string {
	t.Helper()
	return strings.TrimSpace(g.Run(t, "systemctl is-active "+unit+" || true"))
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

func synchronised(t *testing.T, g *vm.Guest) string {
	t.Helper()
	return strings.TrimSpace(g.Run(t, "timedatectl show --value -p NTPSynchronized"))
}

// readiness: time-sync.target waits for a clock that is right, and for nothing less.
func readiness(t *testing.T) {
	g := vm.Start(t, vm.Virtual)
	w := vm.NewWorld(t, g, ordinary)
	for n := range 3 {
		w.StopServing(t, n+1)
	}
	h := vm.Install(t, g, threeNTP)
	g.Run(t, "systemctl enable -q clockarbiter clockarbiter-wait-sync; systemctl start --no-block clockarbiter clockarbiter-wait-sync")
	g.Sleep(t, 20*time.Second)
	if a, s := active(t, g, "time-sync.target"), synchronised(t, g); a != "inactive" || s != "no" {
		t.Errorf("without a source: time-sync.target %s, NTPSynchronized %s", a, s)
	}
	for n := range 3 {
		w.Serve(t, n+1)
	}
	h.Await(t, "locked", 2*time.Minute, vm.Locked)
	g.Sleep(t, 5*time.Second)
	if a, s := active(t, g, "time-sync.target"), synchronised(t, g); a != "active" || s != "yes" {
		t.Errorf("locked: time-sync.target %s, NTPSynchronized %s\n%s", a, s,
			g.Run(t, "systemctl status -l --no-pager clockarbiter-wait-sync || true"))
	}
	if ntp := strings.TrimSpace(g.Run(t, "timedatectl show --value -p NTP")); ntp != "yes" {
		t.Errorf("timedatectl: NTP=%s, want yes: it does not know the unit", ntp)
	}
}

// conflict starts every other clock daemon, the first of which ends ours, and then ours, which ends them all.
// Those that are not installed are played by sleep; they are no rivals of each other.
const conflict = `mkdir -p /run/systemd/system
rivals=$(systemctl show --value -p Conflicts clockarbiter | tr ' ' '\n' | grep '\.service$')
[ $(echo "$rivals" | wc -l) -ge 12 ] # chronyd is another name of chrony here
for r in $rivals; do
	systemctl cat $r >/dev/null 2>&1 || printf '[Service]\nExecStart=/bin/sleep infinity\n' >/run/systemd/system/$r
done
systemctl daemon-reload
systemctl start chrony
systemctl is-active clockarbiter && exit 1
for r in $rivals; do if [ -e /run/systemd/system/$r ]; then systemctl start $r; fi; done
systemctl start clockarbiter
for r in $rivals; do if systemctl is-active $r; then exit 1; fi; done
true`

// TestUnit is the life of the unit under systemd, on a clock that stays right throughout.
func TestUnit(t *testing.T) {
	t.Parallel()
	g, w, h := locked(t, ordinary, threeNTP, "ntp")
	w.StartTrace(t, 250*time.Millisecond)

	t.Run("analyze", func(t *testing.T) {
		if out := g.Run(t, "systemd-analyze verify /usr/lib/systemd/system/clockarbiter*.service 2>&1 || true"); strings.Contains(out, "clockarbiter") {
			t.Errorf("systemd-analyze verify: %s", out)
		}
		out := g.Run(t, "systemd-analyze security --no-pager clockarbiter.service | grep 'Overall exposure'")
		fields := strings.Fields(out[strings.Index(out, "service:"):])
		if level, err := strconv.ParseFloat(fields[1], 64); err != nil || level > exposure {
			t.Errorf("exposure %q (%v), want %.1f at most\n%s", out, err, exposure, g.Run(t, "systemd-analyze security --no-pager clockarbiter.service | grep '✗'"))
		}
		t.Log(strings.TrimSpace(out))
	})
	t.Run("journal", func(t *testing.T) {
		entries := h.Journal(t, supervisor.MessageModeChanged)
		if len(entries) == 0 {
			t.Fatal("no entry of a change of mode")
		}
		for _, field := range []string{"DECISION_ID", "RULE", "FROM", "TO", "REASON", "BOUND_NS", "SELECTED"} {
			if entries[len(entries)-1][field] == "" {
				t.Errorf("entry %v has no %s", entries[len(entries)-1], field)
			}
		}
		for _, e := range h.Journal(t, "") {
			id := e["MESSAGE_ID"]
			if id == "" || e["SYSLOG_IDENTIFIER"] != "clockarbiter" {
				continue
			}
			if out, status, err := g.Try("journalctl --dump-catalog " + id); err != nil || status != 0 {
				t.Errorf("%q has no entry in the catalog: %s %v", e["MESSAGE"], out, err)
			}
		}
		out := g.Run(t, "journalctl --no-pager -x -u clockarbiter MESSAGE_ID="+string(supervisor.MessageModeChanged))
		if want := "Subject: The clock is now locked, it was acquiring"; !strings.Contains(out, want) {
			t.Errorf("journalctl -x lacks %q:\n%s", want, out)
		}
	})
	t.Run("reload", func(t *testing.T) {
		pid := property(t, g, "MainPID")
		h.Configure(t, threeNTP+"\n[arbiter]\nlock_threshold = \"20us\"\n")
		g.Run(t, "systemctl reload clockarbiter")
		if property(t, g, "MainPID") != pid {
			t.Error("reload restarted the service")
		}
		h.Configure(t, threeNTP+"\n[arbiter]\nlock_treshold = \"20us\"\n")
		if out, status, err := g.Try("systemctl reload clockarbiter"); err != nil || status == 0 {
			t.Errorf("a reload of a misspelt configuration succeeded: %s %v", out, err)
		}
		if a := active(t, g, "clockarbiter"); a != "active" || property(t, g, "MainPID") != pid {
			t.Errorf("a refused reload left the service %s", a)
		}
		h.Configure(t, threeNTP)
		g.Run(t, "systemctl reload clockarbiter")
	})
	for _, tc := range []struct{ name, do string }{
		{"restart", "systemctl restart clockarbiter"},
		{"SIGKILL", "systemctl kill -s KILL --kill-whom=main clockarbiter; sleep 5"},
		{"watchdog", "kill -STOP $(systemctl show --value -p MainPID clockarbiter); sleep 25"},
		{"conflict", conflict},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pid := property(t, g, "MainPID")
			g.Run(t, tc.do)
			if now := property(t, g, "MainPID"); now == pid || now == "0" {
				t.Errorf("main process %s, was %s\n%s", now, pid, h.Tail(t))
			}
			h.Await(t, "locked again", time.Minute, vm.Locked)
			if n := len(lines(g.Run(t, "pgrep -x chronyd"))); n != 1 {
				t.Errorf("%d chronyd processes:\n%s", n, g.Run(t, "ps ax | grep -v '\\['"))
			}
		})
	}
	trace := w.CollectTrace(t)
	t.Log(trace)
	promised(t, trace)
	atMost(t, "true error through all of it", trace.Max(), lied)
	if n := trace.Steps(); n != 0 {
		t.Errorf("%d steps", n)
	}
	// What is read is what the oscillator needs, as NTP knows it, and what is left to slew.
	g.Sleep(t, 20*time.Second)
	if ppb := frequencyPPB(g.Kernel(t)); math.Abs(ppb-ordinaryPPB) > calibrationPPB {
		t.Errorf("frequency %.0f ppb, the truth %d ppb", ppb, ordinaryPPB)
	}
}
