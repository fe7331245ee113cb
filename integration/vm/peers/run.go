package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/vm"
	"clockarbiter/supervisor"
)

// Scenario is what happens to a host.
type Scenario struct {
	Name string
	// Settle is the time from the start of the peer until Locked begins, Locked the time in which
	// nothing happens and the error is that of a locked clock, After the time after the fault.
	Settle, Locked, After time.Duration
	// Phase is the time from one of the grandmaster's Announces to the start of the peer: what a start takes depends
	// on when the next one comes.
	Phase time.Duration
	// Fault is what happens at the end of Locked; nil: nothing.
	Fault func(t testing.TB, w vm.World)
}

// The names of the scenarios.
const (
	Death    = "grandmaster dies"
	Lie1ms   = "PTP lies by 1 ms"
	Lie15ms  = "PTP lies by 15 ms"
	Lie37s   = "PTP lies by 37 s"
	Holdover = "everything lost"
	AtRest   = "noise floor"
)

// steadyRuns of every variant are a start and a locked clock: one may be lucky.
const steadyRuns = 3

// Steady are those runs.
func Steady() []Scenario {
	return spread(steadyRuns, Scenario{Name: "steady ", Settle: 2 * time.Minute, Locked: 3 * time.Minute})
}

// Scenarios are those of the table.
func Scenarios() []Scenario {
	lie := func(by time.Duration) func(testing.TB, vm.World) {
		return func(t testing.TB, w vm.World) { w.B().Lie(t, by) }
	}
	const settle = 2 * time.Minute
	return []Scenario{
		{Name: Death, Settle: 3 * time.Minute, Locked: 5 * time.Minute, After: 10 * time.Minute, Fault: killGrandmaster},
		{Name: Lie1ms, Settle: settle, After: 4 * time.Minute, Fault: lie(time.Millisecond)},
		{Name: Lie15ms, Settle: settle, After: 4 * time.Minute, Fault: lie(15 * time.Millisecond)},
		{Name: Lie37s, Settle: settle, After: 4 * time.Minute, Fault: lie(-vm.UTCOffset)}, // UTC served as TAI
		{Name: Holdover, Settle: settle, After: 30 * time.Minute, Fault: loseEverything},
	}
}

// starting begins the names of the scenarios that are a start and nothing else.
const starting = "start "

// Starts are n of them.
func Starts(n int) []Scenario { return spread(n, Scenario{Name: starting, Settle: 2 * time.Minute}) }

// spread is a scenario n times, at phases that cover the Announce interval evenly.
func spread(n int, s Scenario) []Scenario {
	list := make([]Scenario, n)
	for i := range list {
		list[i] = s
		list[i].Name += fmt.Sprintf("%d of %d", i+1, n)
		list[i].Phase = time.Duration(i) * vm.AnnounceInterval / time.Duration(n)
	}
	return list
}

// starts of every peer are in the report.
const starts = 9

// All are the scenarios that every peer goes through.
func All() []Scenario { return append(Scenarios(), Starts(starts)...) }

func killGrandmaster(t testing.TB, w vm.World) { w.B().Kill(t) }

func loseEverything(t testing.TB, w vm.World) {
	t.Helper()
	w.B().Kill(t)
	for n := range ntpServers {
		w.StopServing(t, n+1)
	}
}

// Run is what one peer did in one scenario.
type Run struct {
	Peer, Scenario string
	Versions       string
	Trace          vm.Trace
	// Began is the instant of the trace at which systemd began to start the peer.
	Began time.Duration
	// Locked and Fault are instants of the trace: the begin of the time in which nothing happens and
	// its end.
	Locked, Fault time.Duration
	// CPU is the processor time between the two, Memory the sum of the processes' peaks in bytes.
	CPU    time.Duration
	Memory int
	// Named is the time from the fault to the first word of the journal against a source; negative:
	// none. Only clockarbiter has such words.
	Named time.Duration
}

// world is where every run begins: 10 ms and 50 ppm behind the truth.
var world = vm.WorldOptions{TruthPPB: 50_000, Behind: 10 * time.Millisecond, NTPServers: ntpServers}

const (
	// spacing of the readings: not in step with anybody's second.
	spacing = 230 * time.Millisecond
	// longSpacing is that of runs longer than longest, where seconds do not count, startSpacing that of starts.
	longSpacing, longest = 970 * time.Millisecond, 10 * time.Minute
	startSpacing         = 70 * time.Millisecond
	// worldSettle lets the grandmaster become one before the host starts.
	worldSettle = 15 * time.Second
)

// Execute runs a scenario in a fresh guest.
func Execute(t testing.TB, p Peer, s Scenario) Run {
	t.Helper()
	g := vm.Start(t, vm.Virtual)
	w := vm.NewWorld(t, g, world)
	p.install(t, g)
	g.Sleep(t, worldSettle)
	r := Run{Peer: p.Name, Scenario: s.Name, Versions: p.versions(t, g), Named: -1}
	w.StartTrace(t, s.spacing())
	awaitPhase(t, g, w, s.Phase)
	p.start(t, g)
	pass(t, g, s.Settle)
	p.running(t, g)
	r.Began = p.began(t, g)
	before := p.used(t, g)
	r.Locked = g.Monotonic(t)
	pass(t, g, s.Locked)
	r.Fault = g.Monotonic(t)
	after := p.used(t, g)
	r.CPU, r.Memory = after.CPU-before.CPU, after.Memory
	if s.Fault != nil {
		s.Fault(t, w)
		pass(t, g, s.After)
		if p.Name == Clockarbiter {
			r.Named = named(t, g, r.Fault)
		}
	}
	r.Trace = w.CollectTrace(t)
	return r
}

// spacing is that of the readings of the true error.
func (s Scenario) spacing() time.Duration {
	switch {
	case strings.HasPrefix(s.Name, starting):
		return startSpacing
	case s.After > longest:
		return longSpacing
	default:
		return spacing
	}
}

// awaitPhase lets the guest's time pass until so long after one of grandmaster B's Announces.
func awaitPhase(t testing.TB, g *vm.Guest, w vm.World, phase time.Duration) {
	t.Helper()
	since := (g.Monotonic(t) - w.B().MasterSince(t)) % vm.AnnounceInterval
	g.Sleep(t, (phase-since+vm.AnnounceInterval)%vm.AnnounceInterval)
}

// pass lets the guest's time pass, in pieces that a busy machine runs in the time that one script may take.
func pass(t testing.TB, g *vm.Guest, d time.Duration) {
	t.Helper()
	const piece = 30 * time.Second
	for ; d > 0; d -= piece {
		g.Sleep(t, min(d, piece))
	}
}

// named finds the first entry of clockarbiter's journal after the fault that speaks against the grandmaster.
func named(t testing.TB, g *vm.Guest, fault time.Duration) time.Duration {
	t.Helper()
	for _, e := range vm.HostOf(g).Journal(t, "") {
		raised := e["MESSAGE_ID"] == string(supervisor.MessageFaultRaised)
		against := strings.HasPrefix(e["SOURCE"], "ptp:") && (raised || e["TO"] == "falseticker")
		if against && e.At(t) > fault {
			return e.At(t) - fault
		}
	}
	return -1
}

// file is where a run is kept.
func file(dir, peer, scenario string) string {
	clean := strings.NewReplacer(" ", "-", "+", "and", ":", "", ",", "", "--", "-").Replace
	return filepath.Join(dir, clean(peer)+"."+clean(scenario)+".json")
}

// Save keeps a run below dir.
func (r Run) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep run: %w", err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep run: %w", err)
	}
	if err := os.WriteFile(file(dir, r.Peer, r.Scenario), b, 0o644); err != nil {
		return fmt.Errorf("keep run: %w", err)
	}
	return nil
}

// Load reads a run that was kept.
func Load(dir, peer, scenario string) (Run, error) {
	b, err := os.ReadFile(file(dir, peer, scenario))
	if err != nil {
		return Run{}, fmt.Errorf("read run: %w", err)
	}
	var r Run
	if err := json.Unmarshal(b, &r); err != nil {
		return Run{}, fmt.Errorf("read run of %s, %s: %w", peer, scenario, err)
	}
	return r, nil
}
