package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"clockarbiter/supervisor"
)

// Host is the host under test: clockarbiter as a package would install it, in the guest's systemd.
type Host struct {
	guest *Guest
}

// HostOf is the host of a guest in which somebody else installed clockarbiter.
func HostOf(g *Guest) Host { return Host{g} }

// Where a package puts what deploy holds.
var installed = []struct {
	from, to string
	mode     uint32
}{
	{"systemd/clockarbiter.service", "/usr/lib/systemd/system/clockarbiter.service", 0o644},
	{"systemd/ntp-units.d/50-clockarbiter.list", "/usr/lib/systemd/ntp-units.d/50-clockarbiter.list", 0o644},
	{"sysusers/clockarbiter.conf", "/usr/lib/sysusers.d/clockarbiter.conf", 0o644},
	{"udev/60-clockarbiter.rules", "/usr/lib/udev/rules.d/60-clockarbiter.rules", 0o644},
	{"journal/clockarbiter.catalog", "/usr/lib/systemd/catalog/clockarbiter.catalog", 0o644},
}

// Install installs the program with this configuration. Nothing is started.
func Install(t testing.TB, g *Guest, toml string) Host {
	t.Helper()
	h := Host{g}
	g.PutProgram(t, "/usr/bin/clockarbiter", "./cmd/clockarbiter")
	deploy := filepath.Join(repositoryDir(), "deploy")
	for _, f := range installed {
		g.PutFile(t, f.to, f.mode, filepath.Join(deploy, f.from))
	}
	units, err := filepath.Glob(filepath.Join(deploy, "systemd", "clockarbiter-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		g.PutFile(t, "/usr/lib/systemd/system/"+filepath.Base(u), 0o644, u)
	}
	if strings.Contains(toml, "[[ptp.interface]]") {
		h.DropIn(t, "ptp")
	}
	h.Configure(t, toml)
	g.Run(t, "systemd-sysusers; udevadm control --reload; udevadm trigger -s ptp -s pps --settle; journalctl --update-catalog && systemctl daemon-reload")
	return h
}

// DropIn installs one of the unit's drop-ins, which takes a daemon-reload.
func (h Host) DropIn(t testing.TB, name string) {
	t.Helper()
	file := "clockarbiter.service.d/" + name + ".conf"
	h.guest.PutFile(t, "/etc/systemd/system/"+file, 0o644, filepath.Join(repositoryDir(), "deploy", "systemd", file))
}

// Configure writes the configuration file.
func (h Host) Configure(t testing.TB, toml string) {
	t.Helper()
	h.guest.Put(t, "/etc/clockarbiter/clockarbiter.toml", 0o644, []byte(toml))
}

// Start starts the unit, which must become ready.
func (h Host) Start(t testing.TB) {
	t.Helper()
	h.guest.Run(t, "systemctl start clockarbiter || { systemctl status --no-pager -l clockarbiter || true; journalctl -u clockarbiter --no-pager | tail -n 40; exit 1; }")
}

// readSockets reads the status socket a number of times, twice a second. Perl, because starting a Go
// program takes the emulated processor most of a second.
const readSockets = `perl -MIO::Socket::UNIX -e '
for (1 .. %d) {
	$s = IO::Socket::UNIX->new("/run/clockarbiter/status.sock");
	print <$s> if $s;
	select(undef, undef, undef, 0.5);
}'`

// statuses are the answers of half a second each; where nobody answers there is none.
func (h Host) statuses(t testing.TB, n int) []supervisor.Status {
	t.Helper()
	out := h.guest.Run(t, fmt.Sprintf(readSockets, n))
	var list []supervisor.Status
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var st supervisor.Status
		err := d.Decode(&st)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("status %q: %v", out, err)
		}
		list = append(list, st)
	}
}

// awaitStep is how many answers Await reads at a time.
const awaitStep = 4

// Await lets time pass until the status satisfies a condition, looking twice a second, and returns that
// status. While nobody answers, it is not satisfied.
func (h Host) Await(t testing.TB, what string, limit time.Duration, ok func(supervisor.Status) bool) supervisor.Status {
	t.Helper()
	for waited := time.Duration(0); waited <= limit; waited += awaitStep * time.Second / 2 {
		list := h.statuses(t, awaitStep)
		if i := slices.IndexFunc(list, ok); i >= 0 {
			return list[i]
		}
	}
	t.Fatalf("not %s within %v:\n%s\n%s", what, limit, h.guest.Run(t, "clockarbiter status || true"), h.Tail(t))
	panic("not reached")
}

// Locked is a condition for Await.
func Locked(st supervisor.Status) bool { return st.Mode == "locked" }

// Following is a condition for Await: this source is selected and the clock locked to it.
func Following(source string) func(supervisor.Status) bool {
	return func(st supervisor.Status) bool {
		id, ok := st.Selected.Get()
		return ok && strings.HasPrefix(string(id), source) && Locked(st)
	}
}

// Tail is the end of the unit's journal, for messages of failed tests.
func (h Host) Tail(t testing.TB) string {
	t.Helper()
	return h.guest.Run(t, "journalctl -u clockarbiter -n 60 --no-pager -o cat")
}

// Entry is a journal entry: its fields, by name.
type Entry map[string]string

// Journal returns the unit's entries of one kind, oldest first; an empty kind stands for all.
func (h Host) Journal(t testing.TB, kind supervisor.MessageID) []Entry {
	t.Helper()
	match := "-u clockarbiter"
	if kind != "" {
		match += " MESSAGE_ID=" + string(kind)
	}
	var entries []Entry
	for _, line := range lines(h.guest.Run(t, "journalctl --no-pager -o json "+match)) {
		var raw map[string]any
		if err := json.Unmarshal([]byte(line), &raw); err != nil {
			t.Fatalf("journal entry %q: %v", line, err)
		}
		e := Entry{}
		for k, v := range raw {
			if s, ok := v.(string); ok {
				e[k] = s
			}
		}
		entries = append(entries, e)
	}
	return entries
}

// At is when the entry reached the journal, on the guest's CLOCK_MONOTONIC.
func (e Entry) At(t testing.TB) time.Duration {
	t.Helper()
	us, err := strconv.ParseInt(e["__MONOTONIC_TIMESTAMP"], 10, 64)
	if err != nil {
		t.Fatalf("entry %v: %v", e, err)
	}
	return time.Duration(us) * time.Microsecond
}

// Monotonic is the guest's CLOCK_MONOTONIC, to ten milliseconds: it never sleeps.
func (g *Guest) Monotonic(t testing.TB) time.Duration {
	t.Helper()
	up, _, _ := strings.Cut(g.Run(t, "cat /proc/uptime"), " ")
	d, err := time.ParseDuration(up + "s")
	if err != nil {
		t.Fatalf("/proc/uptime: %v", err)
	}
	return d
}

// Kernel is the state of the kernel's clock as adjtimex(8) prints it, by name: a reading that has
// nothing in common with ours.
func (g *Guest) Kernel(t testing.TB) map[string]int {
	t.Helper()
	state := map[string]int{}
	for _, line := range lines(g.Run(t, "adjtimex --print")) {
		name, value, ok := strings.Cut(line, ":")
		if n, err := strconv.Atoi(strings.Fields(value + " x")[0]); ok && err == nil {
			state[strings.TrimSpace(name)] = n
		}
	}
	if len(state) == 0 {
		t.Fatal("adjtimex(8) printed nothing")
	}
	return state
}
