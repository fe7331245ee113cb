package process

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// identity is a resolved Credential.
type identity struct {
	// change is false where the supervisor's own user and groups stay.
	change   bool
	uid, gid int
}

// lookup resolves the names, or returns an error that says what is missing.
func (c Credential) lookup() (identity, error) {
	if c.User == "" {
		return identity{uid: unix.Getuid(), gid: unix.Getgid()}, nil
	}
	u, err := user.Lookup(c.User)
	if _, numberErr := strconv.Atoi(c.User); err != nil && numberErr == nil {
		u, err = user.LookupId(c.User)
	}
	if err != nil {
		return identity{}, fmt.Errorf("user %q is not known: create it or correct it in the configuration: %w", c.User, err)
	}
	gid := u.Gid
	if c.Group != "" {
		if gid, err = lookupGroup(c.Group); err != nil {
			return identity{}, err
		}
	}
	id := identity{change: true}
	if id.uid, err = strconv.Atoi(u.Uid); err != nil {
		return identity{}, fmt.Errorf("user %q: %w", c.User, err)
	}
	if id.gid, err = strconv.Atoi(gid); err != nil {
		return identity{}, fmt.Errorf("group of user %q: %w", c.User, err)
	}
	return id, nil
}

// needs returns what the supervisor must hold to start and to signal a child of this identity. Without
// CAP_KILL not even the death signal would reach a child of another user.
func (id identity) needs() capabilitySet {
	if id.uid == unix.Getuid() {
		return 0
	}
	return 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_KILL
}

// MaySwitchUser reports whether this process can start, confine and signal children of other users.
func MaySwitchUser() bool {
	held, err := permittedCapabilities()
	return err == nil && (identity{uid: unix.Getuid() + 1}).needs()&^held == 0
}

// lookupGroup returns the number of a group given by name or number.
func lookupGroup(group string) (string, error) {
	if g, err := user.LookupGroup(group); err == nil {
		return g.Gid, nil
	}
	if g, err := user.LookupGroupId(group); err == nil {
		return g.Gid, nil
	}
	return "", fmt.Errorf("group %q is not known: create it or correct it in the configuration", group)
}

// reducePrivileges leaves the calling thread with the identity and exactly the wanted capabilities,
// which survive execve whatever the program. The thread must be locked.
func reducePrivileges(wanted capabilitySet, id identity) error {
	held, err := permittedCapabilities()
	if err != nil {
		return err
	}
	if missing := wanted &^ held; missing != 0 {
		return fmt.Errorf("the child needs %v, which the supervisor does not hold: give it to the service (CapabilityBoundingSet= and AmbientCapabilities=)", missing.names())
	}
	if missing := id.needs() &^ held; missing != 0 {
		return fmt.Errorf("to run a child as user id %d the supervisor needs %v, which it does not hold", id.uid, missing.names())
	}
	if err := dropBoundingSet(wanted); err != nil {
		return err
	}
	if err := id.assume(); err != nil {
		return err
	}
	if err := setCapabilities(wanted); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// permittedCapabilities returns what the calling thread holds.
func permittedCapabilities() (capabilitySet, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return capabilitySet(data[0].Permitted) | capabilitySet(data[1].Permitted)<<32, nil
}

// dropBoundingSet removes all but the wanted capabilities from the bounding set: the ones that this
// kernel knows, not only the ones that this package does. A supervisor other than root cannot do it
// and need not: its children hold nothing, and no_new_privs bars the way to more.
func dropBoundingSet(wanted capabilitySet) error {
	for n := uint(0); n < 64; n++ {
		present, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err != nil {
			return nil // EINVAL: past the last capability of this kernel
		}
		if present == 0 || wanted.has(n) {
			continue
		}
		err = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0)
		if errors.Is(err, unix.EPERM) && unix.Geteuid() != 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set (the supervisor needs CAP_SETPCAP): %w", n, err)
		}
	}
	return nil
}

// assume gives the calling thread the identity without supplementary groups, keeping its permitted
// capabilities.
func (id identity) assume() error {
	if !id.change {
		return nil
	}
	if unix.Geteuid() != 0 && id.uid == unix.Getuid() && id.gid == unix.Getgid() {
		return nil // ours already; only root could drop the supplementary groups
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities across the change of user: %w", err)
	}
	if err := unix.Setgroups(nil); err != nil {
		return fmt.Errorf("drop supplementary groups (the supervisor needs CAP_SETGID): %w", err)
	}
	// Raw calls, because package syscall would change all threads of the shim.
	gid, uid := uintptr(id.gid), uintptr(id.uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("change to group id %d (the supervisor needs CAP_SETGID): %w", id.gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("change to user id %d (the supervisor needs CAP_SETUID): %w", id.uid, errno)
	}
	return nil
}

// setCapabilities makes the permitted, effective, inheritable and ambient sets of the calling thread
// exactly the wanted. The ambient set is what a program without file capabilities gets from execve
// when its user is not root; for root it is the inheritable set within the bounding set.
func setCapabilities(wanted capabilitySet) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(wanted), uint32(wanted>>32)
	data := [2]unix.CapUserData{
		{Effective: low, Permitted: low, Inheritable: low},
		{Effective: high, Permitted: high, Inheritable: high},
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities %v: %w", wanted.names(), err)
	}
	for n := uint(0); n < 64; n++ {
		if !wanted.has(n) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n), 0, 0); err != nil {
			return fmt.Errorf("raise ambient capability %s: %w", capabilityNames[n], err)
		}
	}
	return nil
}
