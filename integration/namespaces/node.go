package namespaces

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// nodeInterface is the name of a node's only interface besides lo.
const nodeInterface = "eth0"

// node is a network namespace with one veth link to the host of the world.
type node struct {
	name string
	// address is the node's own on the link.
	address netip.Addr
	// dir holds the node's configuration and sockets.
	dir string
	ns  netns.NsHandle
}

// newNode makes a namespace and joins it to the current one. The host's end of the link is named like
// the node, and subnet 10.77.number.0/24 is theirs: .1 at the node, .2 at the host.
func newNode(name string, number int) (*node, error) {
	n := &node{name: name, address: linkAddress(number, 1).Addr(), dir: filepath.Join(workDir, name)}
	// chronyd refuses a command socket in a directory that others can read.
	if err := os.Mkdir(n.dir, 0o750); err != nil {
		return nil, err
	}
	var err error
	if n.ns, err = newNamespace(); err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	if err := n.join(number); err != nil {
		return nil, fmt.Errorf("join %s to the host: %w", name, errors.Join(err, n.close()))
	}
	return n, nil
}

// join makes the veth pair and sets both its ends up.
func (n *node) join(number int) error {
	link := netlink.NewLinkAttrs()
	link.Name = n.name
	pair := &netlink.Veth{LinkAttrs: link, PeerName: nodeInterface, PeerNamespace: netlink.NsFd(n.ns)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	inside, err := netlink.NewHandleAt(n.ns, syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in the namespace: %w", err)
	}
	defer inside.Close()
	outside, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer outside.Close()
	return errors.Join(
		raise(inside, nodeInterface, linkAddress(number, 1)),
		raise(outside, n.name, linkAddress(number, 2)),
	)
}

// raise gives the interface its address and sets it up.
func raise(handle *netlink.Handle, name string, address netip.Prefix) error {
	link, err := handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	addr, err := netlink.ParseAddr(address.String())
	if err != nil {
		return err
	}
	if err := handle.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add %v to %s: %w", address, name, err)
	}
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// linkAddress is host number host of the link's subnet.
func linkAddress(link, host int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, byte(link), byte(host)}), 24)
}

// close removes the link and gives the namespace up; the kernel removes that with the last process in it,
// some time later.
func (n *node) close() error {
	var errs []error
	link, err := netlink.LinkByName(n.name)
	switch {
	case errors.As(err, &netlink.LinkNotFoundError{}):
	case err != nil:
		errs = append(errs, fmt.Errorf("find %s: %w", n.name, err))
	default:
		errs = append(errs, netlink.LinkDel(link))
	}
	return errors.Join(append(errs, n.ns.Close(), os.RemoveAll(n.dir))...)
}

// newNamespace makes a network namespace and comes back.
func newNamespace() (netns.NsHandle, error) {
	made := netns.None()
	err := elsewhere(func() (err error) {
		if made, err = netns.New(); err != nil {
			return err
		}
		return prepareNetwork()
	})
	return made, err
}

// prepareNetwork sets lo up in the namespace of the calling thread, and lets IPv6 addresses be used at
// once: nobody else is there who could have the same one, and a daemon that binds a tentative one fails.
func prepareNetwork() error {
	for _, scope := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+scope+"/accept_dad", []byte("0"), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // A kernel without IPv6 needs nothing.
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// in runs f on a thread that is in the node's namespace: sockets that f opens and processes that f
// starts belong to the node.
func (n *node) in(f func() error) error {
	return elsewhere(func() error {
		if err := netns.Set(n.ns); err != nil {
			return fmt.Errorf("enter namespace %s: %w", n.name, err)
		}
		return f()
	})
}

// elsewhere runs f on a thread of its own and returns to the namespace that it came from. A thread that
// cannot return stays locked, and thereby ends with its goroutine.
func elsewhere(f func() error) error {
	errC := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			errC <- err
			return
		}
		err = f()
		if setErr := netns.Set(home); setErr != nil {
			errC <- errors.Join(err, setErr)
			return
		}
		runtime.UnlockOSThread()
		errC <- errors.Join(err, home.Close())
	}()
	return <-errC
}
