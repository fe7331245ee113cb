package rivals

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// process is what /proc says of one.
type process struct {
	pid, parent int
	comm        string
	argv        []string
	caps        uint64 // effective
	nested      bool   // in a PID namespace other than this host's
	unit        string
	container   string
	mapped      bool // in a user namespace whose root is not the host's
}

const (
	capSysTime = 25
	// ordinaryRoot is the number of effective capabilities from which a process holds CAP_SYS_TIME
	// just because it holds about everything.
	ordinaryRoot = 30
)

func (p process) mayWrite() bool { return p.caps&(1<<capSysTime) != 0 && !p.mapped }

var errNoStatus = errors.New("no process status")

// parseStatus reads /proc/PID/status (proc_pid_status(5)).
func parseStatus(text []byte) (process, error) {
	var p process
	var known int
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ":")
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "Name":
			p.comm = printable(value)
			known++
		case "PPid":
			p.parent, err = strconv.Atoi(value)
			known++
		case "CapEff":
			p.caps, err = strconv.ParseUint(value, 16, 64)
			known++
		case "NSpid":
			p.nested = len(strings.Fields(value)) > 1
		}
		if err != nil {
			return process{}, fmt.Errorf("%w: %s: %w", errNoStatus, key, err)
		}
	}
	if known < 3 {
		return process{}, errNoStatus
	}
	return p, nil
}

// parseCommand splits /proc/PID/cmdline.
func parseCommand(text []byte) []string {
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 {
		return nil
	}
	var argv []string
	for arg := range bytes.SplitSeq(text, []byte{0}) {
		argv = append(argv, printable(string(arg)))
	}
	return argv
}

// parseMapped reads /proc/PID/uid_map (user_namespaces(7)): whether root there is somebody else here.
func parseMapped(text []byte) bool {
	fields := strings.Fields(string(text))
	return len(fields) >= 3 && !(fields[0] == "0" && fields[1] == "0")
}

var (
	containerID = regexp.MustCompile(`(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)`)
	containerBy = []struct {
		name string
		part *regexp.Regexp
	}{
		{"lxc", regexp.MustCompile(`(?:^|/)lxc(?:\.payload)?[./]([^/]+)`)},
		{"machine", regexp.MustCompile(`(?:^|/)machine-([^/]+)\.scope`)},
		{"nspawn", regexp.MustCompile(`(?:^|/)systemd-nspawn@([^/]+)\.service`)},
	}
	engines = []string{"docker", "cri-containerd", "crio", "libpod", "kubepods", "containerd"}
)

// parseCgroup reads /proc/PID/cgroup (cgroups(7)): the systemd unit, and the container with its engine
// and the first 12 digits of its identifier, as the engines print it. Empty: none.
func parseCgroup(text []byte) (unit, container string) {
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		where := printable(parts[2])
		if container == "" {
			container = containerOf(where)
		}
		if parts[1] == "" || parts[1] == "name=systemd" {
			if u := unitOf(where); u != "" {
				unit = u
			}
		}
	}
	return unit, container
}

func containerOf(where string) string {
	if m := containerID.FindStringSubmatch(where); m != nil {
		for _, engine := range engines {
			if strings.Contains(where, engine) {
				return engine + " " + m[1][:12]
			}
		}
		return "container " + m[1][:12]
	}
	for _, c := range containerBy {
		if m := c.part.FindStringSubmatch(where); m != nil {
			return c.name + " " + m[1]
		}
	}
	return ""
}

// unitOf returns the innermost unit of a cgroup's path.
func unitOf(where string) string {
	for ; where != "/" && where != "." && where != ""; where = path.Dir(where) {
		name := path.Base(where)
		switch path.Ext(name) {
		case ".service", ".scope":
			return name
		}
	}
	return ""
}

// printable cuts what a stranger may have written into its name to what a journal can show.
func printable(s string) string {
	const most = 256
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
