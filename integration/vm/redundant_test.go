package vm_test

import (
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/vm"
	"clockarbiter/supervisor"
)

// ids are the full names of the sources.
const (
	sourceA = "ptp:enp2s0:0"
	sourceB = "ptp:enp4s0:24"
)

// awaitFault lets time pass until a fault of a source is journalled that was not before since, and returns how
// long that took.
func awaitFault(t *testing.T, g *vm.Guest, h vm.Host, source string, since, limit time.Duration, names ...string) time.Duration {
	t.Helper()
	for {
		for _, e := range h.Journal(t, supervisor.MessageFaultRaised) {
			if after := e.At(t) - since; e["SOURCE"] == source && after >= 0 && strings.Contains(" "+strings.Join(names, " ")+" ", " "+e["TO"]+" ") {
				t.Logf("named after %v: %s", after.Round(time.Millisecond), e["MESSAGE"])
				return after
			}
		}
		if g.Monotonic(t)-since > limit {
			t.Fatalf("none of the faults %v of %s in %v:\n%s", names, source, limit, h.Tail(t))
		}
		g.Sleep(t, time.Second)
	}
}

// twoGrandmasters: one host, two interfaces, two domains, Ethernet and UDP. What happens to one
// grandmaster does not move the clock while there is another.
func twoGrandmasters(t *testing.T) {
	g, w, h := locked(t, both, hardwareA+strings.Replace(hardwareB, "floor", "prefer = true\nfloor", 1)+threeNTP, "ptp")
	h.Await(t, "locked to the preferred one", time.Minute, vm.Following(sourceB))
	st := h.Await(t, "sure of both", time.Minute, func(st supervisor.Status) bool {
		return state(st, sourceA) == "selectable" && state(st, sourceB) == "selected"
	})
	for _, s := range st.Sources {
		if off := s.OffsetNS.Or(time.Second); strings.HasPrefix(string(s.ID), "ptp") && off.Abs() > byPHC {
			t.Errorf("%s is %v off", s.ID, off)
		}
	}
	w.StartTrace(t, 250*time.Millisecond)

	t.Run("degraded", func(t *testing.T) {
		since := g.Monotonic(t)
		w.B().Advertise(t, vm.Settings{ClockClass: 248})
		awaitFault(t, g, h, sourceB, since, 10*time.Second, "grandmaster-degraded")
		w.B().Advertise(t, vm.Settings{})
	})
	t.Run("replaced", func(t *testing.T) {
		since := g.Monotonic(t)
		w.B().Replace(t, "020000.fffe.000b0b")
		awaitFault(t, g, h, sourceB, since, 30*time.Second, "grandmaster-change")
		h.Await(t, "locked to the new one", time.Minute, vm.Following(sourceB))
	})
	t.Run("dead", func(t *testing.T) {
		w.B().Kill(t)
		h.Await(t, "locked to the other", 20*time.Second, vm.Following(sourceA))
		w.B().Start(t)
		h.Await(t, "locked to the one that is back", 2*time.Minute, vm.Following(sourceB))
	})
	g.Sleep(t, 10*time.Second)
	trace := w.CollectTrace(t)
	t.Log(trace)
	atMost(t, "true error through all of it", trace.Max(), byPHC)
	if n := trace.Steps(); n != 0 {
		t.Errorf("%d steps", n)
	}
	unblamed(t, h)
}

// onePHCTwoInterfaces: two interfaces with one PHC have one ptp4l, since two would fight over it.
func onePHCTwoInterfaces(t *testing.T) {
	g := vm.Start(t, vm.Virtual)
	w := vm.NewWorld(t, g, ordinary)
	g.Run(t, "modprobe macvlan; ip link add link enp2s0 name twin type macvlan mode bridge; ip link set twin up")
	h := vm.Install(t, g, hardwareA+strings.Replace(hardwareA, "enp2s0", "twin", 1)+threeNTP)
	h.Start(t)
	h.Await(t, "locked to PTP", 2*time.Minute, vm.Following("ptp"))
	if n := len(lines(g.Run(t, "pgrep -x ptp4l -u clockarbiter-ptp"))); n != 1 {
		t.Errorf("%d of ours are ptp4l", n)
	}
	st := h.Await(t, "locked", time.Second, vm.Locked)
	for _, s := range st.Sources {
		t.Logf("%s: %s, %s, %s", s.ID, s.State, s.Reason, s.Detail)
	}
	g.Sleep(t, 10*time.Second)
	trace := w.Measure(t, 20*time.Second)
	atMost(t, "true error", trace.Max(), byPHC)

	// Two domains cannot share it: both are refused by name, and NTP goes on.
	h.Configure(t, hardwareA+strings.Replace(hardwareA, "domain = 0", "domain = 24", 1)+threeNTP)
	g.Run(t, "systemctl reload clockarbiter")
	h.Await(t, "locked to NTP", time.Minute, vm.Following("ntp"))
	st = h.Await(t, "saying why", 10*time.Second, func(st supervisor.Status) bool {
		return strings.Contains(reason(st, "ptp:enp2s0:0"), "one PHC follows one master") && strings.Contains(reason(st, "ptp:enp2s0:24"), "one PHC follows one master")
	})
	t.Log(reason(st, "ptp:enp2s0:24"))
}

// hourWithoutSources: PTP and NTP are both lost for an hour. The clock keeps its rate and its promise, and
// is right again when they are back.
func hourWithoutSources(t *testing.T) {
	// Nothing but the hour itself is fast: a guest's hour costs what happens in it.
	slow := "[clock]\ninterval = \"4s\"\n" + hardwareA + strings.ReplaceAll(threeNTP, "maxpoll = 2", "maxpoll = 6")
	g, w, h := locked(t, ordinary, slow, "ptp")
	g.Sleep(t, time.Minute)
	w.A().Kill(t)
	for n := range 3 {
		w.StopServing(t, n+1)
	}
	g.Sleep(t, 4*time.Minute) // a server that is polled each 64 s is stale after 256
	h.Await(t, "in holdover", 2*time.Minute, mode("holdover"))
	promised(t, w.MeasureEvery(t, time.Hour+3*time.Minute, 3*time.Minute))
	if st := h.Await(t, "in holdover still", time.Second, mode("holdover")); !st.Clock.Synchronised {
		t.Error("an hour of holdover: not synchronised")
	}
	w.StartTrace(t, 250*time.Millisecond)
	w.A().Start(t)
	for n := range 3 {
		w.Serve(t, n+1)
	}
	h.Await(t, "locked to PTP", 2*time.Minute, vm.Following("ptp"))
	g.Sleep(t, 30*time.Second)
	trace := w.CollectTrace(t)
	t.Log("everything back:", trace)
	atMost(t, "true error in the end", trace[len(trace)-20:].Max(), byPHC)
	promised(t, trace)
	if n := trace.Steps(); n != 0 {
		t.Errorf("%d steps", n)
	}
	unblamed(t, h)
}
