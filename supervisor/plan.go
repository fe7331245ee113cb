package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/chrony"
	"clockarbiter/configs"
	"clockarbiter/ptp"
	"clockarbiter/sources"
)

// Facts are what the plan depends on beside the configuration: what this host has and can do. They
// are probed once and passed in, so that the same facts always give the same plan.
type Facts struct {
	Chronyd, PTP4L      Program
	ChronyUser, PTPUser User
	Interfaces          []InterfaceFacts
}

// Program is an executable that was looked for.
type Program struct {
	Path    string
	Version string
	// Problem says why it cannot be used and what to do, empty where it can.
	Problem string
}

// User is an account that was looked up.
type User struct {
	Name     string
	UID, GID uint32
	Problem  string
}

// InterfaceFacts are the timestamping abilities of one network interface.
type InterfaceFacts struct {
	Name string
	// Index is the kernel's number: an interface that was made again under its old name has another.
	Index        int
	Capabilities ptp.Capabilities
	// Problem says why they are not known: the interface does not exist.
	Problem string
}

// Plan is everything that will run, and every source that will be judged. It is pure: the dry run
// prints the very value that the supervisor acts on.
type Plan struct {
	Children []Child
	Sources  []PlannedSource
	// facts are what the plan was made for.
	facts Facts
}

// Child is one process to spawn and the files that it needs.
type Child struct {
	Name         string
	Argv         []string
	Dir          string
	Files        []File
	User         User
	Capabilities []string
	// Problem says why the child cannot be started as things are; its sources are unreachable
	// until the host is probed again and the problem is gone.
	Problem string

	// ports are the interfaces as they were found, which the files do not tell.
	ports []port

	chrony *chrony.Config
	ptp    *ptp.Config
}

// File is one rendered file.
type File struct {
	Path    string
	Content string
}

// PlannedSource is a configured source, or a configured pool whose members appear later.
type PlannedSource struct {
	ID      sources.ID
	Pool    bool
	Kind    sources.Kind
	Child   string
	Options arbiter.Options
}

// NewPlan derives the plan from a valid configuration.
func NewPlan(cfg *configs.Config, facts Facts) Plan {
	p := Plan{facts: facts}
	if len(cfg.NTP.Servers) > 0 {
		p.Children = append(p.Children, planChrony(cfg, facts))
		p.Sources = append(p.Sources, planNTPSources(cfg)...)
	}
	engines := planPTP(cfg, facts)
	p.Children = append(p.Children, engines...)
	p.Sources = append(p.Sources, planPTPSources(cfg, engines)...)
	slices.SortFunc(p.Sources, func(a, b PlannedSource) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return p
}

// port is an interface as it was found.
type port struct {
	name  string
	index int
	phc   sources.Optional[int]
}

// Same reports whether two children would be started alike, on the same interfaces.
func (c Child) Same(d Child) bool {
	return c.Name == d.Name && c.Problem == d.Problem && c.User == d.User && c.Dir == d.Dir &&
		slices.Equal(c.Argv, d.Argv) && slices.Equal(c.Files, d.Files) && slices.Equal(c.Capabilities, d.Capabilities) &&
		slices.Equal(c.ports, d.ports)
}

// String prints the plan for a person: every child with its argv, user, capabilities and files.
func (p Plan) String() string {
	var b strings.Builder
	for i, c := range p.Children {
		if i > 0 {
			b.WriteByte('\n')
		}
		c.print(&b)
		for _, s := range p.Sources {
			if s.Child == c.Name {
				fmt.Fprintf(&b, "  source        %s\n", s.describe())
			}
		}
		for _, f := range c.Files {
			fmt.Fprintf(&b, "  file          %s\n", f.Path)
			for line := range strings.Lines(f.Content) {
				fmt.Fprintf(&b, "    | %s", line)
			}
		}
	}
	return b.String()
}

func (c Child) print(b *strings.Builder) {
	fmt.Fprintf(b, "child %s\n", c.Name)
	if c.Problem != "" {
		fmt.Fprintf(b, "  PROBLEM       %s\n", c.Problem)
	}
	fmt.Fprintf(b, "  argv          %s\n", strings.Join(c.Argv, " "))
	fmt.Fprintf(b, "  user          %s (%d:%d)\n", c.User.Name, c.User.UID, c.User.GID)
	caps := "none"
	if len(c.Capabilities) > 0 {
		caps = strings.Join(c.Capabilities, " ")
	}
	fmt.Fprintf(b, "  capabilities  %s\n", caps)
	fmt.Fprintf(b, "  directory     %s\n", c.Dir)
}

func (s PlannedSource) describe() string {
	words := []string{string(s.ID)}
	if s.Pool {
		words = append(words, "(pool: each member is a source)")
	}
	o := s.Options
	for _, f := range []struct {
		on   bool
		name string
	}{{o.Prefer, "prefer"}, {o.Trust, "trust"}, {o.Require, "require"}, {o.NoSelect, "noselect"}} {
		if f.on {
			words = append(words, f.name)
		}
	}
	words = append(words, "max age "+o.MaxAge.String())
	return strings.Join(words, " ")
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

func log2Seconds(n int) time.Duration {
	if n < 0 {
		return time.Second >> -n
	}
	return time.Second << n
}

func options(cfg *configs.Config, s configs.Select) arbiter.Options {
	return arbiter.Options{
		Prefer: s.Prefer, Trust: s.Trust, Require: s.Require, NoSelect: s.NoSelect,
		Floor: s.Floor.Std(), MaxAge: cfg.Arbiter.MaxAge.Std(),
	}
}
