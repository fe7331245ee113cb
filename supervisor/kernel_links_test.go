package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"clockarbiter/configs"
)

const linksConfig = `
[paths]
run_dir = %q
[process]
grace = "200ms"
backoff_min = "50ms"
[[ptp.interface]]
name = "veth0"
[[ptp.interface]]
name = "veth0.5"
[[ptp.interface]]
name = "bond0"
`

// realLinks is a planner that looks at the links of a network namespace of its own, and hears of their
// changes from the kernel; its engines are scripts that sleep.
type realLinks struct {
	*harbour
	h *netlink.Handle
}

func newRealLinks(t *testing.T) *realLinks {
	t.Helper()
	r := &realLinks{harbour: newHarbour(t)}
	dir, err := os.MkdirTemp("", "links")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // /tmp: nobody misses it, nobody finds it
	daemon := filepath.Join(dir, "daemon")
	if err := os.WriteFile(daemon, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, fmt.Sprintf(linksConfig, dir))
	cfg.Process.SampleTimeout = configs.Duration(time.Minute)
	root := User{Name: "root"}
	known := Facts{Chronyd: Program{Path: daemon}, PTP4L: Program{Path: daemon, Version: "4.2"}, ChronyUser: root, PTPUser: root}
	linkC, orderC := make(chan string, linkQueue), make(chan order)
	p := &planner{
		cfg: cfg, plan: NewPlan(cfg, known), load: func() (*configs.Config, error) { return cfg, nil }, reread: func(string) {},
		probe: reprobe, fleet: r.fleet, orderC: orderC, linkC: linkC, reloadC: make(chan chan error),
		record: recorder{journal: &memoryJournal{}, log: discard()}, log: discard(), notify: func(string) bool { return true },
	}
	go discardOrders(r.ctx, orderC)
	madeC := make(chan netns.NsHandle, 2)
	inside := func(run func()) {
		runtime.LockOSThread() // the thread ends with the goroutine
		run()
	}
	go inside(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			close(madeC)
			return
		}
		ns, err := netns.Get()
		if err != nil {
			t.Error(err)
		}
		madeC <- ns
		p.look(r.ctx, "")
		p.run(r.ctx)
	})
	ns, ok := <-madeC
	if !ok {
		t.FailNow()
	}
	go inside(func() {
		if err := netns.Set(ns); err != nil {
			t.Error(err)
			return
		}
		watchLinks(r.ctx, linkC, discard())
	})
	if r.h, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.h.Close(); ns.Close() })
	return r
}

func discardOrders(ctx context.Context, orderC <-chan order) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-orderC:
		}
	}
}

func (r *realLinks) named(name string) netlink.Link {
	r.t.Helper()
	l, err := r.h.LinkByName(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// do makes a change; false where this kernel has no such link.
func (r *realLinks) do(what string, err error) bool {
	r.t.Helper()
	if errors.Is(err, unix.EOPNOTSUPP) {
		r.t.Logf("%s: this kernel has none: %v", what, err)
		return false
	}
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	return true
}

// patience is more than a look that the kernel's word causes takes, and less than reprobeEvery.
const patience = reprobeEvery - time.Second

func (r *realLinks) runs(name string) int {
	r.t.Helper()
	r.await(name+" runs", patience, func() bool { return r.of(name).Phase == "running" })
	return r.of(name).PID
}

func (r *realLinks) waits(name string) {
	r.t.Helper()
	r.await(name+" waits for its interface", patience, func() bool { c := r.of(name); return c.Phase == "waiting" && c.Problem != "" })
}

// unmoved looks whether a change left an engine alone, for longer than the kernel's word takes.
func (r *realLinks) unmoved(what, name string, pid int) {
	r.t.Helper()
	time.Sleep(4 * linkSettle)
	if c := r.of(name); c.PID != pid || c.Phase != "running" {
		r.t.Errorf("%s: %+v, it was process %d", what, c, pid)
	}
}

func TestEnginesFollowTheInterfacesOfTheKernel(t *testing.T) {
	const veth, vlan, bond = "ptp4l-veth0-0", "ptp4l-veth0.5-0", "ptp4l-bond0-0"
	r := newRealLinks(t)
	for _, name := range []string{veth, vlan, bond} {
		r.waits(name)
	}
	r.do("veth", r.h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0"}, PeerName: "peer0"}))
	pid := r.runs(veth)
	r.do("up", r.h.LinkSetUp(r.named("veth0")))
	r.do("down", r.h.LinkSetDown(r.named("veth0")))
	r.unmoved("up and down", veth, pid)

	r.do("renamed away", r.h.LinkSetName(r.named("veth0"), "away0"))
	r.waits(veth)
	r.do("renamed back", r.h.LinkSetName(r.named("away0"), "veth0"))
	pid = r.runs(veth)

	vlanPID := 0
	hasVLAN := r.do("VLAN", r.h.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "veth0.5", ParentIndex: r.named("veth0").Attrs().Index}, VlanId: 5}))
	if hasVLAN {
		vlanPID = r.runs(vlan)
		r.unmoved("a VLAN on top", veth, pid)
	}
	r.bonded(bond)
	if hasVLAN {
		r.unmoved("somebody else's bond", vlan, vlanPID)
	}
	r.do("gone", r.h.LinkDel(r.named("veth0")))
	r.waits(veth)
	r.waits(vlan)
}

// bonded is the life of a bond of two: its engine starts with it, and goes on whichever of the two is active.
func (r *realLinks) bonded(name string) {
	r.t.Helper()
	b := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0"})
	b.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
	if !r.do("bond", r.h.LinkAdd(b)) {
		return
	}
	pid := r.runs(name)
	for _, slave := range []string{"slave0", "slave1"} {
		r.do(slave, r.h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: slave}, PeerName: "p" + slave}))
		r.do(slave, r.h.LinkSetMaster(r.named(slave), r.named("bond0")))
		r.do(slave, r.h.LinkSetUp(r.named("p"+slave)))
	}
	r.do("bond up", r.h.LinkSetUp(r.named("bond0")))
	for _, active := range []string{"slave1", "slave0"} {
		change := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0"})
		change.ActiveSlave = r.named(active).Attrs().Index
		change.Index = r.named("bond0").Attrs().Index
		r.do("active slave", r.h.LinkModify(change))
	}
	// Its interfaces stamp alike, so the engine stays; where they have PHCs, the plan is another one
	// (TestAnInterfaceThatChangesConcernsItsEngineAlone).
	r.unmoved("another active slave", name, pid)
	r.do("bond gone", r.h.LinkDel(r.named("bond0")))
	r.waits(name)
}
