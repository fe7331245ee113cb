package supervisor

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/arbiter"
	"clockarbiter/clock"
	"clockarbiter/sources"
	"clockarbiter/supervisor/process"
	"clockarbiter/supervisor/rivals"
)

func TestReadyOnceAliveWithEachTickAndAStatusLineWhenItIsNews(t *testing.T) {
	var sent []string
	r := &readiness{notify: func(s string) bool { sent = append(sent, s); return true }}
	st := Status{Mode: "free-running", At: time.Unix(1000, 0)}
	for _, step := range []struct {
		mode  string
		after time.Duration
	}{{"free-running", 0}, {"free-running", time.Second}, {"locked", time.Second}, {"locked", time.Second}, {"locked", 5 * time.Second}} {
		st.Mode, st.At = step.mode, st.At.Add(step.after)
		st.Selected, st.Clock.OffsetNS, st.Clock.BoundNS = sources.Some(sources.ID("ptp:eth0:0")), sources.Some(time.Microsecond), sources.Some(time.Millisecond)
		r.tick(st)
	}
	line := ", following ptp:eth0:0, offset 1µs, bound 1ms"
	want := []string{
		"WATCHDOG=1\nREADY=1\nSTATUS=free-running" + line, "WATCHDOG=1", "WATCHDOG=1\nSTATUS=locked" + line,
		"WATCHDOG=1", "WATCHDOG=1\nSTATUS=locked" + line,
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestReloadingIsAnnouncedWithTheMonotonicClock(t *testing.T) {
	if s := reloadingNow(); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+$`).MatchString(s) {
		t.Errorf("%q", s)
	}
}

func TestNotifyWithoutAServiceManagerDoesNothing(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := SystemdNotify()("READY=1"); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", "/nonexistent/notify")
	if err := SystemdNotify()("READY=1"); err == nil {
		t.Error("a service manager that is gone is no error")
	}
	var text bytes.Buffer
	s := &Supervisor{options: Options{Log: slog.New(slog.NewTextHandler(&text, nil)), Notify: SystemdNotify()}}
	s.tell("READY=1\nSTATUS=x")
	if !strings.Contains(text.String(), "service manager not notified") {
		t.Errorf("log %q", text.String())
	}
}

func TestTransitionsOfChildrenInTheJournal(t *testing.T) {
	asked, crashed := &process.Exit{PID: 7, Asked: true}, &process.Exit{PID: 7, Code: 3}
	for _, tc := range []struct {
		event    process.Event
		priority Priority
		fields   map[string]string
	}{
		{process.Event{Kind: process.EventStarted, PID: 7}, PriorityInfo, map[string]string{"EVENT": "child-started", "CHILD_PID": "7"}},
		{process.Event{Kind: process.EventStartFailed, Err: errors.New("no")}, PriorityError, map[string]string{"EVENT": "child-start-failed"}},
		{process.Event{Kind: process.EventExited, PID: 7, Exit: asked}, PriorityInfo, map[string]string{"EVENT": "child-exited", "CHILD_PID": "7"}},
		{process.Event{Kind: process.EventExited, PID: 7, Exit: crashed}, PriorityWarning, map[string]string{"EVENT": "child-exited", "CHILD_PID": "7"}},
		{process.Event{Kind: process.EventBackingOff, Delay: time.Second}, PriorityInfo, map[string]string{"EVENT": "child-backing-off"}},
		{process.Event{Kind: process.EventQuarantined, Delay: time.Hour}, PriorityError, map[string]string{"EVENT": "child-quarantined"}},
		{process.Event{Kind: process.EventRestarting, PID: 7, Reason: "mute"}, PriorityWarning, map[string]string{"EVENT": "child-restarting", "CHILD_PID": "7", "REASON": "mute"}},
		{process.Event{Kind: process.EventStuck, PID: 7}, PriorityError, map[string]string{"EVENT": "child-stuck", "CHILD_PID": "7"}},
		{process.Event{Kind: process.EventStopped}, PriorityInfo, map[string]string{"EVENT": "child-stopped"}},
	} {
		j := &memoryJournal{}
		tc.event.Name, tc.event.Restarts = "chronyd", 2
		recorder{journal: j, log: discard()}.child(tc.event)
		want := Entry{Message: tc.event.String(), Priority: tc.priority, ID: MessageChild, Fields: map[string]string{"CHILD": "chronyd", "RESTARTS": "2"}}
		for k, v := range tc.fields {
			want.Fields[k] = v
		}
		if diff := cmp.Diff([]Entry{want}, j.entries); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.event.Kind, diff)
		}
	}
}

func TestEveryKindOfEntryHasFieldsAndAWordInTheCatalog(t *testing.T) {
	j := &memoryJournal{}
	r := recorder{journal: j, log: discard()}
	r.write(foreignEntry(clock.Intrusion{What: clock.FrequencyWritten, Evidence: "freq 0 -> 65536"}, defence{}))
	r.write(stanceEntry(defence{stance: holding}, "a fight"))
	r.kernelMove(clock.Intrusion{What: clock.LeapSecond, Evidence: "armed"})
	r.rivals([]rivals.Suspect{{PID: 7, Name: "chronyd"}})
	r.sensor(PriorityWarning, "not read")
	r.leapTable(arbiter.LeapTable{Path: "/x", Problem: "its hash does not match"})
	r.writerError(errors.New("operation not permitted"))
	r.started("started")
	r.stopped("stopped")
	r.reloaded(changes{Started: []string{"chronyd"}})
	r.reloadRefused(errors.New("line 3"))
	r.replanned(changes{Replaced: []string{"ptp4l-eth0-0"}, Started: []string{"ptp4l-eth1-0"}},
		Plan{Children: []Child{{Name: "ptp4l-eth0-0"}, {Name: "ptp4l-eth1-0", Problem: "gone"}}},
		Plan{Children: []Child{{Name: "ptp4l-eth0-0", Problem: "no such interface"}, {Name: "ptp4l-eth1-0"}}}, "eth0")
	var text string
	for _, e := range j.entries {
		if e.Fields["EVENT"] == "" || e.Message == "" || e.ID == "" || e.Priority == 0 {
			t.Errorf("entry %+v lacks something", e)
		}
		text += e.Message + "\n"
	}
	for _, want := range []string{"ptp4l-eth0-0 cannot run: no such interface", "ptp4l-eth1-0 can run now", "freq 0 -> 65536", "line 3"} {
		if !strings.Contains(text, want) {
			t.Errorf("no entry says %q:\n%s", want, text)
		}
	}
	catalog, err := os.ReadFile("../deploy/journal/clockarbiter.catalog")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("journal.go")
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`MessageID = "([0-9a-f]{32})"`).FindAllStringSubmatch(string(source), -1)
	if len(ids) < 16 {
		t.Fatalf("%d message identifiers found", len(ids))
	}
	seen := map[string]bool{}
	for _, m := range ids {
		if seen[m[1]] || !strings.Contains(string(catalog), "-- "+m[1]) {
			t.Errorf("message %s is twice in use or not in the catalog", m[1])
		}
		seen[m[1]] = true
	}
}

// brokenJournal takes nothing.
type brokenJournal struct{}

func (brokenJournal) Write(Entry) error { return errors.New("no journal") }

func TestAnEntryThatIsNotWrittenIsInTheLog(t *testing.T) {
	var text bytes.Buffer
	r := recorder{journal: brokenJournal{}, log: slog.New(slog.NewTextHandler(&text, nil))}
	r.started("clockarbiter started")
	if !strings.Contains(text.String(), "no journal") || !strings.Contains(text.String(), "clockarbiter started") {
		t.Errorf("log %q", text.String())
	}
}

func TestLogJournalKeepsFieldsAndLevels(t *testing.T) {
	for _, tc := range []struct {
		priority Priority
		level    string
	}{{PriorityError, "ERROR"}, {PriorityWarning, "WARN"}, {PriorityNotice, "INFO"}, {PriorityInfo, "INFO"}} {
		var text bytes.Buffer
		j := LogJournal{Log: slog.New(slog.NewTextHandler(&text, nil))}
		err := j.Write(Entry{Message: "two\nlines", Priority: tc.priority, ID: MessageChild, Fields: map[string]string{"B": "2", "A": "1"}})
		want := "level=" + tc.level + ` msg="two / lines" MESSAGE_ID=` + string(MessageChild) + " A=1 B=2\n"
		if got := text.String(); err != nil || !strings.HasSuffix(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestMissingProgramsAndUsersSayWhatToDo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if p := findProgram("no-such-daemon", "chrony", "ntp.chronyd"); !strings.Contains(p.Problem, "install the package chrony, or set ntp.chronyd") {
		t.Errorf("missing program: %+v", p)
	}
	// chroot is in /usr/sbin wherever there is a coreutils.
	if p := findProgram("chroot", "chrony", "ntp.chronyd"); p.Path != "/usr/sbin/chroot" || p.Problem != "" {
		t.Errorf("a daemon outside of PATH: %+v", p)
	}
	if p := findProgram("/etc/passwd", "chrony", "ntp.chronyd"); p.Problem == "" {
		t.Errorf("a file that is no program: %+v", p)
	}
	if u := findUser("ntp.user", "no-such-user", "nobody"); !strings.Contains(u.Problem, "no-such-user does not exist: create it, or set ntp.user") {
		t.Errorf("missing user: %+v", u)
	}
	if u := findUser("ntp.user", "", "no-such-user", "nobody"); u.Name != "nobody" || u.UID != 65534 || u.Problem != "" {
		t.Errorf("the second of the usual: %+v", u)
	}
	if u := findUser("ntp.user", "65534"); u.Name != "nobody" || u.Problem != "" {
		t.Errorf("a user by number: %+v", u)
	}
	if u := findUser("ntp.user", "", "no-such-user"); !strings.Contains(u.Problem, "none of the users") {
		t.Errorf("none of the usual: %+v", u)
	}
}

func TestProbeNamesWhatIsMissingAndReprobeKeepsWhatWasThere(t *testing.T) {
	cfg := parse(t, `
[ntp]
chronyd = "/nonexistent/chronyd"
[[ntp.server]]
address = "192.0.2.1"
[ptp]
ptp4l = "/nonexistent/ptp4l"
[[ptp.interface]]
name = "eth99"
[[ptp.interface]]
name = "lo"
[[ptp.interface]]
name = "lo"
domain = 1
`)
	f := Probe(t.Context(), cfg)
	names := []string{}
	for _, i := range f.Interfaces {
		names = append(names, i.Name)
	}
	if !slices.Equal(names, []string{"eth99", "lo"}) || f.Interfaces[0].Problem == "" || f.Interfaces[1].Index != 1 {
		t.Errorf("interfaces %+v", f.Interfaces)
	}
	if f.Chronyd.Problem == "" || f.PTP4L.Problem == "" || f.ChronyUser.Problem != "" || f.PTPUser.Problem != "" {
		t.Errorf("facts %+v", f)
	}
	known := f
	known.Chronyd, known.PTP4L = Program{Path: "/gone/chronyd"}, Program{Path: "/gone/ptp4l", Version: "4.2"}
	if g := reprobe(t.Context(), cfg, known); g.Chronyd != known.Chronyd || g.PTP4L != known.PTP4L {
		t.Errorf("a program that was there is looked for again: %+v", g)
	}
	if g := reprobe(t.Context(), cfg, f); g.Chronyd.Problem == "" {
		t.Error("a program that was missing is not looked for again")
	}
}

// Where journald is, the entry is there; where it is not, that is an error, not a wait.
func TestTheSystemdJournalAnswersOrSaysThatItIsNotThere(t *testing.T) {
	err := SystemdJournal{}.Write(Entry{Message: "a test of clockarbiter", Priority: PriorityInfo, ID: MessageChild, Fields: map[string]string{"EVENT": "test"}})
	if _, there := os.Stat("/run/systemd/journal/socket"); (err == nil) != (there == nil) || err != nil && !strings.Contains(err.Error(), "write to the journal") {
		t.Errorf("%v; journald: %v", err, there)
	}
}
