package supervisor

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// elsewhere watches the links of a network namespace of its own until the test ends, and returns a
// handle to change them.
func watchElsewhere(t *testing.T) (*netlink.Handle, <-chan string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces can only be made by root: run the tests as root")
	}
	ctx, cancel := context.WithCancel(t.Context())
	linkC, madeC, doneC := make(chan string, linkQueue), make(chan netns.NsHandle, 1), make(chan struct{})
	go func() {
		defer close(doneC)
		runtime.LockOSThread() // the thread ends with the goroutine, and its namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			close(madeC)
			return
		}
		ns, err := netns.Get()
		if err != nil {
			t.Error(err)
			close(madeC)
			return
		}
		madeC <- ns
		watchLinks(ctx, linkC, discard())
	}()
	ns, ok := <-madeC
	if !ok {
		t.FailNow()
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		select {
		case <-doneC:
		case <-time.After(5 * time.Second):
			t.Error("the watch has not ended")
		}
		h.Close()
		ns.Close()
	})
	return h, linkC
}

func TestEveryChangeOfAnInterfaceIsAnnounced(t *testing.T) {
	h, linkC := watchElsewhere(t)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "veth0"
	link := &netlink.Veth{LinkAttrs: attributes, PeerName: "veth1"}
	bond := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0"})
	byName := func(name string) netlink.Link {
		t.Helper()
		l, err := h.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	// The subscription begins some time after the namespace is there, and says so.
	select {
	case <-linkC:
	case <-time.After(5 * time.Second):
		t.Fatal("the watch has not begun")
	}
	if err := h.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	select {
	case <-linkC:
	case <-time.After(5 * time.Second):
		t.Fatal("an interface that appears is not announced")
	}
	vlan := netlink.NewLinkAttrs()
	vlan.Name, vlan.ParentIndex = "veth0.5", byName("veth0").Attrs().Index
	for _, step := range []struct {
		name   string
		change func() error
	}{
		{"up", func() error { return h.LinkSetUp(byName("veth0")) }},
		{"down", func() error { return h.LinkSetDown(byName("veth0")) }},
		{"renamed", func() error { return h.LinkSetName(byName("veth0"), "other") }},
		{"VLAN on top", func() error { return h.LinkAdd(&netlink.Vlan{LinkAttrs: vlan, VlanId: 5}) }},
		{"bond", func() error { return h.LinkAdd(bond) }},
		{"gone", func() error { return h.LinkDel(byName("other")) }},
	} {
		drain(linkC)
		switch err := step.change(); {
		case errors.Is(err, unix.EOPNOTSUPP):
			t.Logf("%s: this kernel has none: %v", step.name, err)
			continue
		case err != nil:
			t.Fatalf("%s: %v", step.name, err)
		}
		select {
		case <-linkC:
		case <-time.After(3 * time.Second):
			t.Errorf("%s: not announced", step.name)
		}
	}
}

// drain forgets what has been announced, and what follows it closely.
func drain(linkC <-chan string) {
	for {
		select {
		case <-linkC:
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

func TestWatchingLinksLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	files := openFiles(t)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		watchLinks(ctx, make(chan string), discard())
		cancel()
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before || openFiles(t) > files; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before; %d descriptors, %d before", runtime.NumGoroutine(), before, openFiles(t), files)
		}
	}
}
