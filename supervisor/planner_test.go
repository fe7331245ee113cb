package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/configs"
	"clockarbiter/sources"
)

// office is a planner of a host that the test describes, with a configuration that the test writes.
// Its chronyd and ptp4l are a script that sleeps.
type office struct {
	*harbour
	planner *planner
	journal *memoryJournal
	linkC   chan string
	reloadC chan chan error
	file    string
	sent    []string

	mu     sync.Mutex
	facts  Facts
	orders []order
}

const officeConfig = `
[paths]
run_dir = %q
[process]
grace = "200ms"
backoff_min = "50ms"
[[ntp.server]]
address = "192.0.2.1"
%s
[[ptp.interface]]
name = "veth0"
[[ptp.interface]]
name = "eth9"
%s
`

func newOffice(t *testing.T) *office {
	t.Helper()
	h := newHarbour(t)
	dir, err := os.MkdirTemp("", "office") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	daemon := filepath.Join(dir, "daemon")
	if err := os.WriteFile(daemon, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := &office{
		harbour: h, journal: &memoryJournal{}, linkC: make(chan string, linkQueue), reloadC: make(chan chan error),
		file: filepath.Join(dir, "clockarbiter.toml"), facts: hostFacts(),
	}
	h.dir = dir
	root := User{Name: "root"}
	o.facts.Chronyd, o.facts.PTP4L, o.facts.ChronyUser, o.facts.PTPUser = Program{Path: daemon}, Program{Path: daemon, Version: "4.2"}, root, root
	cfg := o.write(t, "", "")
	plan := NewPlan(cfg, o.host())
	orderC := make(chan order)
	o.planner = &planner{
		reread: func(string) {},
		cfg:    cfg, plan: plan, load: func() (*configs.Config, error) { return configs.Load(o.file) },
		probe: func(context.Context, *configs.Config, Facts) Facts { return o.host() },
		fleet: h.fleet, orderC: orderC, linkC: o.linkC, reloadC: o.reloadC,
		record: recorder{journal: o.journal, log: discard()}, log: discard(),
		notify: func(s string) bool { o.mu.Lock(); defer o.mu.Unlock(); o.sent = append(o.sent, s); return true },
	}
	h.apply(h.ctx, cfg, plan)
	go o.planner.run(h.ctx)
	go func() {
		for {
			select {
			case <-h.ctx.Done():
				return
			case got := <-orderC:
				o.mu.Lock()
				o.orders = append(o.orders, got)
				o.mu.Unlock()
			}
		}
	}()
	h.awaitRunning("chronyd", "ptp4l-veth0-0")
	return o
}

// write makes the configuration anew, with more about the server and about everything.
func (o *office) write(t *testing.T, server, more string) *configs.Config {
	t.Helper()
	text := fmt.Sprintf(officeConfig, o.dir, server, more)
	if err := os.WriteFile(o.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(o.file)
	if err != nil {
		cfg = nil
	}
	return cfg
}

// host is what a look at the host finds.
func (o *office) host() Facts {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.facts
	f.Interfaces = slices.Clone(f.Interfaces)
	return f
}

// change changes an interface of the host and says so.
func (o *office) change(name string, to func(*InterfaceFacts)) {
	o.mu.Lock()
	i := slices.IndexFunc(o.facts.Interfaces, func(f InterfaceFacts) bool { return f.Name == name })
	to(&o.facts.Interfaces[i])
	o.mu.Unlock()
	o.linkC <- name
}

func (o *office) reload(t *testing.T) error {
	t.Helper()
	answerC := make(chan error, 1)
	o.reloadC <- answerC
	select {
	case err := <-answerC:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("no answer to a reload")
		return nil
	}
}

func (o *office) pids() map[string]int {
	pids := map[string]int{}
	for _, c := range o.status() {
		pids[c.Name] = c.PID
	}
	return pids
}

func (o *office) newest() order {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.orders) == 0 {
		return order{}
	}
	return o.orders[len(o.orders)-1]
}

func TestReloadRestartsOnlyWhatChanged(t *testing.T) {
	o := newOffice(t)
	before := o.pids()

	o.write(t, "prefer = true", "[arbiter]\nsettle = 9")
	if err := o.reload(t); err != nil {
		t.Fatal(err)
	}
	if got := o.pids(); got["chronyd"] != before["chronyd"] || got["ptp4l-veth0-0"] != before["ptp4l-veth0-0"] {
		t.Errorf("processes %v after a reload that concerns no engine, %v before", got, before)
	}
	o.await("the loop is told", time.Second, func() bool { return o.newest().arbiter.Settle == 9 })
	now := o.newest()
	if s, ok := findPlanned(now.plan, "ntp:192.0.2.1"); !ok || !s.Options.Prefer || now.arbiter.Settle != 9 {
		t.Errorf("the loop was told %+v, settle %d", s, now.arbiter.Settle)
	}

	o.write(t, "minpoll = 3", "")
	if err := o.reload(t); err != nil {
		t.Fatal(err)
	}
	o.await("chronyd is another", 5*time.Second, func() bool { p := o.of("chronyd"); return p.Phase == "running" && p.PID != before["chronyd"] })
	if got := o.pids(); got["ptp4l-veth0-0"] != before["ptp4l-veth0-0"] {
		t.Error("ptp4l was restarted although only NTP changed")
	}
	if got := o.journal.messages(MessageReloaded); len(got) != 2 || !strings.Contains(got[0], "no engine is touched") || !strings.Contains(got[1], "replaced chronyd") {
		t.Errorf("journal: %q", got)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sent) != 4 || !strings.HasPrefix(o.sent[0], "RELOADING=1") || o.sent[1] != "READY=1" {
		t.Errorf("service manager was told %q", o.sent)
	}
}

func findPlanned(p Plan, id sources.ID) (PlannedSource, bool) {
	i := slices.IndexFunc(p.Sources, func(s PlannedSource) bool { return s.ID == id })
	if i < 0 {
		return PlannedSource{}, false
	}
	return p.Sources[i], true
}

func TestABadNewConfigurationChangesNothingAndSaysWhy(t *testing.T) {
	for _, tc := range []struct{ name, server, more, want string }{
		{"unknown key", "minpol = 3", "", "minpol"},
		{"out of range", "minpoll = 99", "", "minpoll"},
		{"syntax", "minpoll = ", "", "clockarbiter.toml"},
		{"another driver", "", "[clock]\ndriver = \"observe\"", "[clock] outside of [clock.step]"},
		{"another log", "", "[log]\nlevel = \"debug\"", "[log]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOffice(t)
			before, plan := o.pids(), o.planner.plan.String()
			o.write(t, tc.server, tc.more)
			err := o.reload(t)
			if !errors.Is(err, errReloadRefused) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if got := o.pids(); got["chronyd"] != before["chronyd"] || got["ptp4l-veth0-0"] != before["ptp4l-veth0-0"] {
				t.Errorf("processes %v, %v before", got, before)
			}
			if o.newest().plan.Children != nil {
				t.Error("the loop was told of it")
			}
			if got := o.journal.messages(MessageReloadRefused); len(got) != 1 || !strings.Contains(got[0], tc.want) {
				t.Errorf("journal: %q", got)
			}
			o.write(t, "", "")
			if err := o.reload(t); err != nil {
				t.Errorf("the old configuration again: %v", err)
			}
			o.await("the loop is told", time.Second, func() bool { return o.newest().plan.String() == plan })
		})
	}
}

func TestAnInterfaceThatChangesConcernsItsEngineAlone(t *testing.T) {
	o := newOffice(t)
	chronyd, veth := o.of("chronyd").PID, o.of("ptp4l-veth0-0").PID
	settled := func(what string, condition func() bool) {
		t.Helper()
		o.await(what, 10*time.Second, condition)
		if o.of("chronyd").PID != chronyd {
			t.Errorf("%s: chronyd was restarted", what)
		}
	}
	o.change("eth9", func(f *InterfaceFacts) {
		f.Problem, f.Index = "", 9
		f.Capabilities = hostFacts().Interfaces[2].Capabilities
		f.Capabilities.Interface = "eth9"
	})
	settled("an interface appears", func() bool { return o.of("ptp4l-eth9-0").Phase == "running" })
	o.change("veth0", func(f *InterfaceFacts) { f.Index++ })
	settled("an interface is made again under its name", func() bool {
		c := o.of("ptp4l-veth0-0")
		return c.Phase == "running" && c.PID != veth
	})
	veth = o.of("ptp4l-veth0-0").PID
	o.change("veth0", func(f *InterfaceFacts) {
		phc := hostFacts().Interfaces[0].Capabilities
		phc.Interface, phc.PHC = "veth0", sources.Some(3)
		f.Capabilities = phc
	})
	// The engine wants to open that PHC, which this host has not got: it is replaced and cannot start.
	replaced := func(n int) func() bool {
		return func() bool {
			return len(o.journal.messages(MessageReplanned)) == n && strings.Contains(o.of("ptp4l-veth0-0").Problem, "prepare")
		}
	}
	settled("an interface gains a PHC, as some drivers do with the link", replaced(3))
	o.change("veth0", func(f *InterfaceFacts) { f.Capabilities.PHC = sources.Some(4) })
	settled("the PHC has another number, as that of a bond whose active slave changes", replaced(4))
	o.change("veth0", func(f *InterfaceFacts) { f.Capabilities = hostFacts().Interfaces[2].Capabilities })
	settled("the PHC is gone", func() bool { return o.of("ptp4l-veth0-0").Phase == "running" })
	veth = o.of("ptp4l-veth0-0").PID
	o.change("eth9", func(f *InterfaceFacts) { f.Problem = "no such network interface" })
	settled("an interface disappears", func() bool { c := o.of("ptp4l-eth9-0"); return c.Phase == "waiting" && c.Problem != "" })
	o.linkC <- "veth0" // up, down: nothing that the plan depends on
	time.Sleep(2 * linkSettle)
	if o.of("ptp4l-veth0-0").PID != veth {
		t.Error("an engine was restarted for nothing")
	}
	got := o.journal.messages(MessageReplanned)
	if len(got) != 6 || !contains(got, "ptp4l-eth9-0 can run now") || !contains(got, "ptp4l-eth9-0 cannot run: no such network interface") {
		t.Errorf("journal: %q", got)
	}
}

func TestAReloadWithoutAPlannerIsBounded(t *testing.T) {
	s := &Supervisor{reloadC: make(chan chan error)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Reload(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody takes it: %v", err)
	}
	go func() { <-s.reloadC }()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Reload(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
}

func TestAReloadLooksOnlyForProgramsThatAreNamedAnew(t *testing.T) {
	cfg := parse(t, rigConfig)
	p := &planner{cfg: cfg, plan: NewPlan(cfg, hostFacts())}
	if diff := cmp.Diff(hostFacts(), p.stillKnown(parse(t, rigConfig)), cmp.AllowUnexported(sources.Optional[int]{})); diff != "" {
		t.Errorf("the same names (-want +got):\n%s", diff)
	}
	other := parse(t, "[ntp]\nchronyd = \"/opt/chronyd\"\nuser = \"ntp\"\n[ptp]\nptp4l = \"/opt/ptp4l\"\nuser = \"ptp\"\n"+rigConfig)
	if k := p.stillKnown(other); !k.Chronyd.unknown() || !k.ChronyUser.unknown() || !k.PTP4L.unknown() || !k.PTPUser.unknown() {
		t.Errorf("other names: %+v", k)
	}
}
