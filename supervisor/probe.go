package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"

	"clockarbiter/configs"
	"clockarbiter/ptp"
	"clockarbiter/supervisor/process"
)

// systemDirs are searched after PATH: a service's PATH may lack them, and daemons live there.
var systemDirs = [...]string{"/usr/sbin", "/usr/local/sbin", "/sbin"}

// Probe looks at the host for what the configuration needs. What is missing is a Problem in the
// facts, not an error: the rest goes on.
func Probe(ctx context.Context, cfg *configs.Config) Facts { return reprobe(ctx, cfg, Facts{}) }

// reprobe is Probe for a configuration that is in force already: a program or a user that was there is
// not looked for again, so that a package in the middle of an upgrade costs no engine its life.
func reprobe(ctx context.Context, cfg *configs.Config, known Facts) Facts {
	f := known
	f.Interfaces = nil
	if len(cfg.NTP.Servers) > 0 {
		if f.Chronyd.unknown() {
			f.Chronyd = findProgram(cfg.NTP.Chronyd, "chrony", "ntp.chronyd")
		}
		if f.ChronyUser.unknown() {
			f.ChronyUser = findUser("ntp.user", cfg.NTP.User, "clockarbiter-ntp", "_chrony", "chrony", "nobody")
		}
	}
	if len(cfg.PTP.Interfaces) > 0 {
		if f.PTP4L.unknown() {
			f.PTP4L = probePTP4L(ctx, cfg)
		}
		if f.PTPUser.unknown() {
			f.PTPUser = findUser("ptp.user", cfg.PTP.User, "clockarbiter-ptp", "nobody")
		}
	}
	seen := map[string]bool{}
	for _, i := range cfg.PTP.Interfaces {
		if !seen[i.Name] {
			seen[i.Name] = true
			f.Interfaces = append(f.Interfaces, probeInterface(i.Name))
		}
	}
	return f
}

func (p Program) unknown() bool { return p.Path == "" || p.Problem != "" }

func (u User) unknown() bool { return u.Name == "" || u.Problem != "" }

func probePTP4L(ctx context.Context, cfg *configs.Config) Program {
	p := findProgram(cfg.PTP.PTP4L, "linuxptp", "ptp.ptp4l")
	if p.Problem != "" {
		return p
	}
	release, err := ptp.Version(ctx, p.Path)
	if err != nil {
		p.Problem = err.Error()
		return p
	}
	p.Version = release.String()
	return p
}

func probeInterface(name string) InterfaceFacts {
	caps, err := ptp.Probe(name)
	if err != nil {
		return InterfaceFacts{Name: name, Problem: err.Error()}
	}
	link, err := net.InterfaceByName(name)
	if err != nil { // it has just gone
		return InterfaceFacts{Name: name, Problem: fmt.Sprintf("probe interface %q: %v", name, err)}
	}
	return InterfaceFacts{Name: name, Index: link.Index, Capabilities: caps}
}

// findProgram resolves a program name to a path; pkg and key are for the remedy.
func findProgram(name, pkg, key string) Program {
	path, err := exec.LookPath(name)
	if err == nil && filepath.IsAbs(path) {
		return Program{Path: path}
	}
	if filepath.Base(name) == name {
		for _, dir := range systemDirs {
			candidate := filepath.Join(dir, name)
			if st, err := os.Stat(candidate); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return Program{Path: candidate}
			}
		}
	}
	return Program{Path: name, Problem: fmt.Sprintf("program %s is not there: install the package %s, or set %s", name, pkg, key)}
}

// findUser takes the configured user, or the first of the usual ones that exists. One that is not root and
// cannot change users runs its children as itself; for root that would be worse than an error.
func findUser(key, configured string, usual ...string) User {
	if os.Geteuid() != 0 && !process.MaySwitchUser() {
		return lookUp(key, strconv.Itoa(os.Geteuid()))
	}
	if configured != "" {
		return lookUp(key, configured)
	}
	for _, name := range usual {
		if u := lookUp(key, name); u.Problem == "" {
			return u
		}
	}
	return User{Name: usual[0], Problem: fmt.Sprintf("none of the users %v exists: create one, or set %s", usual, key)}
}

func lookUp(key, name string) User {
	u, err := user.Lookup(name)
	if err != nil {
		var byNumber error
		if u, byNumber = user.LookupId(name); byNumber != nil {
			return User{Name: name, Problem: fmt.Sprintf("user %s does not exist: create it, or set %s", name, key)}
		}
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return User{Name: name, Problem: fmt.Sprintf("user %s: %v", name, err)}
	}
	return User{Name: u.Username, UID: uint32(uid), GID: uint32(gid)}
}
