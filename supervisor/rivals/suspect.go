package rivals

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// Suspect is a process that could have written to the clock.
type Suspect struct {
	PID     int    `json:"pid"`
	Name    string `json:"name"`
	Command string `json:"command"`
	// Unit is the systemd unit, Container the engine and identifier of the container. Empty: none.
	Unit      string `json:"unit,omitempty"`
	Container string `json:"container,omitempty"`
	// MayWrite: it holds CAP_SYS_TIME in the host's user namespace.
	MayWrite bool `json:"may_write"`
	// Daemon says which clock daemon it is. Empty: none that is known.
	Daemon string `json:"daemon,omitempty"`
	// Reason says why it is suspected, Weight how much: 100 is the most.
	Reason string `json:"reason"`
	Weight int    `json:"weight"`
}

// String is one line for people.
func (s Suspect) String() string {
	where := ""
	if s.Unit != "" {
		where += ", " + s.Unit
	}
	if s.Container != "" {
		where += ", in " + s.Container
	}
	return fmt.Sprintf("%s (pid %d%s)", s.Name, s.PID, where)
}

// Weights of suspicion, from the surest down.
const (
	// WeightDaemon: a clock daemon that may write.
	WeightDaemon = 100
	// WeightChosen: holds CAP_SYS_TIME among few capabilities: somebody gave it that one on purpose.
	WeightChosen = 70
	// WeightContainer: in a container, to which engines do not give CAP_SYS_TIME by themselves.
	WeightContainer = 60
	// WeightPowerless: a clock daemon that may not write now.
	WeightPowerless = 20
	// WeightRoot: holds about every capability, as whatever root runs.
	WeightRoot = 5
)

// judge says whether and why a process is a suspect.
func judge(p process) (Suspect, bool) {
	s := Suspect{
		PID: p.pid, Name: p.comm, Command: shorten(strings.Join(p.argv, " ")), Unit: p.unit, Container: p.container,
		MayWrite: p.mayWrite(), Daemon: daemonOf(p.comm, p.argv),
	}
	if s.Container == "" && p.nested {
		s.Container = ownNamespace
	}
	few := bits.OnesCount64(p.caps) < ordinaryRoot
	switch {
	case s.Daemon != "" && s.MayWrite:
		s.Weight, s.Reason = WeightDaemon, s.Daemon+", and holds CAP_SYS_TIME"
	case s.Daemon != "":
		s.Weight, s.Reason = WeightPowerless, s.Daemon+", without CAP_SYS_TIME"
	case !s.MayWrite:
		return Suspect{}, false
	case few:
		s.Weight, s.Reason = WeightChosen, fmt.Sprintf("holds CAP_SYS_TIME among %d capabilities", bits.OnesCount64(p.caps))
	case s.Container != "":
		s.Weight, s.Reason = WeightContainer, "a container that holds CAP_SYS_TIME"
	default:
		s.Weight, s.Reason = WeightRoot, "holds every capability, as what root runs does"
	}
	return s, true
}

// rank orders suspects: the likeliest first, then by pid.
func rank(list []Suspect) {
	slices.SortFunc(list, func(a, b Suspect) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.PID, b.PID))
	})
}
