package process

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Capability is a Linux capability by its name in capabilities(7), such as "CAP_NET_RAW".
type Capability string

// number returns the capability's number, or an error for a name that is unknown or that no child
// is given.
func (c Capability) number() (uint, error) {
	if reason := c.refusal(); reason != "" {
		return 0, fmt.Errorf("capability %s is refused: %s", c, reason)
	}
	for n, name := range capabilityNames {
		if name == c {
			return uint(n), nil
		}
	}
	return 0, fmt.Errorf("capability %q is unknown", string(c))
}

// refusal returns why no child is ever given c, or "" where it may be. Beside CAP_SYS_TIME itself
// these are the capabilities with which a process can take it from another one or from the kernel.
func (c Capability) refusal() string {
	switch c {
	case "CAP_SYS_TIME":
		return "only the supervisor adjusts the clock"
	case "CAP_SYS_PTRACE", "CAP_SYS_MODULE", "CAP_SYS_RAWIO":
		return "with it a child could take the clock from the supervisor"
	}
	return ""
}

// capabilityNames is indexed by capability number.
var capabilityNames = [...]Capability{
	unix.CAP_CHOWN:              "CAP_CHOWN",
	unix.CAP_DAC_OVERRIDE:       "CAP_DAC_OVERRIDE",
	unix.CAP_DAC_READ_SEARCH:    "CAP_DAC_READ_SEARCH",
	unix.CAP_FOWNER:             "CAP_FOWNER",
	unix.CAP_FSETID:             "CAP_FSETID",
	unix.CAP_KILL:               "CAP_KILL",
	unix.CAP_SETGID:             "CAP_SETGID",
	unix.CAP_SETUID:             "CAP_SETUID",
	unix.CAP_SETPCAP:            "CAP_SETPCAP",
	unix.CAP_LINUX_IMMUTABLE:    "CAP_LINUX_IMMUTABLE",
	unix.CAP_NET_BIND_SERVICE:   "CAP_NET_BIND_SERVICE",
	unix.CAP_NET_BROADCAST:      "CAP_NET_BROADCAST",
	unix.CAP_NET_ADMIN:          "CAP_NET_ADMIN",
	unix.CAP_NET_RAW:            "CAP_NET_RAW",
	unix.CAP_IPC_LOCK:           "CAP_IPC_LOCK",
	unix.CAP_IPC_OWNER:          "CAP_IPC_OWNER",
	unix.CAP_SYS_MODULE:         "CAP_SYS_MODULE",
	unix.CAP_SYS_RAWIO:          "CAP_SYS_RAWIO",
	unix.CAP_SYS_CHROOT:         "CAP_SYS_CHROOT",
	unix.CAP_SYS_PTRACE:         "CAP_SYS_PTRACE",
	unix.CAP_SYS_PACCT:          "CAP_SYS_PACCT",
	unix.CAP_SYS_ADMIN:          "CAP_SYS_ADMIN",
	unix.CAP_SYS_BOOT:           "CAP_SYS_BOOT",
	unix.CAP_SYS_NICE:           "CAP_SYS_NICE",
	unix.CAP_SYS_RESOURCE:       "CAP_SYS_RESOURCE",
	unix.CAP_SYS_TIME:           "CAP_SYS_TIME",
	unix.CAP_SYS_TTY_CONFIG:     "CAP_SYS_TTY_CONFIG",
	unix.CAP_MKNOD:              "CAP_MKNOD",
	unix.CAP_LEASE:              "CAP_LEASE",
	unix.CAP_AUDIT_WRITE:        "CAP_AUDIT_WRITE",
	unix.CAP_AUDIT_CONTROL:      "CAP_AUDIT_CONTROL",
	unix.CAP_SETFCAP:            "CAP_SETFCAP",
	unix.CAP_MAC_OVERRIDE:       "CAP_MAC_OVERRIDE",
	unix.CAP_MAC_ADMIN:          "CAP_MAC_ADMIN",
	unix.CAP_SYSLOG:             "CAP_SYSLOG",
	unix.CAP_WAKE_ALARM:         "CAP_WAKE_ALARM",
	unix.CAP_BLOCK_SUSPEND:      "CAP_BLOCK_SUSPEND",
	unix.CAP_AUDIT_READ:         "CAP_AUDIT_READ",
	unix.CAP_PERFMON:            "CAP_PERFMON",
	unix.CAP_BPF:                "CAP_BPF",
	unix.CAP_CHECKPOINT_RESTORE: "CAP_CHECKPOINT_RESTORE",
}

// capabilitySet is a set of capabilities, one bit per number.
type capabilitySet uint64

// newCapabilitySet returns the set of the named capabilities, or the error of the first bad name.
func newCapabilitySet(names []Capability) (capabilitySet, error) {
	var set capabilitySet
	for _, name := range names {
		n, err := name.number()
		if err != nil {
			return 0, err
		}
		set |= 1 << n
	}
	return set, nil
}

// has reports whether capability number n is in the set.
func (s capabilitySet) has(n uint) bool { return s&(1<<n) != 0 }

// names returns the members of the set in order of their numbers.
func (s capabilitySet) names() []Capability {
	var names []Capability
	for n, name := range capabilityNames {
		if s.has(uint(n)) {
			names = append(names, name)
		}
	}
	return names
}
