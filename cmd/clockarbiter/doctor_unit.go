package main

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// bpfFact is what this kernel offers for clock.trace and clock.enforce, and what the configuration wants.
type bpfFact struct {
	BTF            bool
	Modules        string // security modules in force, parted by commas; empty: not readable
	Trace, Enforce bool
}

// ownUnitFact is our own unit as systemd has loaded it; zero where it has not.
type ownUnitFact struct {
	Loaded       bool
	User         string
	Capabilities []string // ambient, as "CAP_NET_ADMIN"
}

func bpf(root fs.FS) bpfFact {
	_, err := fs.Stat(root, "sys/kernel/btf/vmlinux")
	return bpfFact{BTF: err == nil, Modules: strings.TrimSpace(readFile(root, "sys/kernel/security/lsm"))}
}

func ownUnit(ctx context.Context) ownUnitFact {
	out, err := run(ctx, "systemctl", "show", "--property=LoadState,User,AmbientCapabilities", "clockarbiter.service")
	if err != nil {
		return ownUnitFact{}
	}
	return parseOwnUnit(out)
}

func parseOwnUnit(out []byte) ownUnitFact {
	p := parseProperties(out)
	if p["LoadState"] != "loaded" {
		return ownUnitFact{}
	}
	return ownUnitFact{Loaded: true, User: p["User"], Capabilities: strings.Fields(strings.ToUpper(p["AmbientCapabilities"]))}
}

// ownUnitFindings compares the unit with what the configured engines need.
func ownUnitFindings(f facts) []finding {
	u := f.OwnUnit
	if !u.Loaded || u.User == "" || u.User == "root" {
		return nil
	}
	var list []finding
	var missing []string
	for _, c := range f.Needs {
		if !slices.Contains(u.Capabilities, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		list = append(list, finding{severityError, "unit", fmt.Sprintf("clockarbiter.service lacks %s, which the configured engines need", strings.Join(missing, " ")),
			"install clockarbiter.service.d/ptp.conf, then systemctl daemon-reload and restart it"})
	}
	if (f.BPF.Trace || f.BPF.Enforce) && !slices.Contains(u.Capabilities, "CAP_BPF") {
		list = append(list, finding{severityError, "unit", "clockarbiter.service lacks CAP_BPF and CAP_PERFMON, which clock.trace and clock.enforce need",
			"install clockarbiter.service.d/bpf.conf, then systemctl daemon-reload and restart it"})
	}
	if len(list) == 0 {
		list = append(list, finding{severityInfo, "unit", "clockarbiter.service has the capabilities that the configuration needs, and runs as " + u.User, ""})
	}
	return list
}

func bpfFindings(f facts) []finding {
	b := f.BPF
	lsm := slices.Contains(strings.Split(b.Modules, ","), "bpf")
	wanted := severityInfo
	if b.Trace || b.Enforce {
		wanted = severityError
	}
	switch {
	case !b.BTF:
		return []finding{{wanted, "bpf", "the kernel has no BTF: who writes to the clock cannot be traced, and others cannot be refused", "a kernel with CONFIG_DEBUG_INFO_BTF, for clock.trace and clock.enforce"}}
	case b.Modules == "":
		return []finding{{severityInfo, "bpf", "clock.trace can be had; whether clock.enforce can is not readable (/sys/kernel/security/lsm)", ""}}
	case !lsm && b.Enforce:
		return []finding{{severityError, "bpf", "clock.enforce cannot be had: the kernel runs the security modules " + b.Modules, "add bpf to lsm= on the kernel's command line"}}
	case !lsm:
		return []finding{{severityInfo, "bpf", "clock.trace can be had, clock.enforce cannot: the kernel's security modules lack bpf", ""}}
	}
	return []finding{{severityInfo, "bpf", "clock.trace and clock.enforce can be had with CAP_BPF and CAP_PERFMON", ""}}
}
