package process

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCredentialsAreFoundByNameAndNumberOrSayWhatIsMissing(t *testing.T) {
	for _, tc := range []struct {
		credential Credential
		want       identity
		missing    string
	}{
		{Credential{}, identity{uid: unix.Getuid(), gid: unix.Getgid()}, ""},
		{Credential{User: "root"}, identity{change: true}, ""},
		{Credential{User: "nobody"}, identity{change: true, uid: 65534, gid: 65534}, ""},
		{Credential{User: "65534", Group: "root"}, identity{change: true, uid: 65534}, ""},
		{Credential{User: "65534", Group: "0"}, identity{change: true, uid: 65534}, ""},
		{Credential{User: "no-such-user"}, identity{}, `user "no-such-user" is not known: create it`},
		{Credential{User: "4000000001"}, identity{}, `user "4000000001" is not known`},
		{Credential{User: "root", Group: "no-such-group"}, identity{}, `group "no-such-group" is not known: create it`},
	} {
		got, err := tc.credential.lookup()
		if tc.missing == "" && (err != nil || got != tc.want) {
			t.Errorf("%+v: %+v, %v; want %+v", tc.credential, got, err, tc.want)
		}
		if tc.missing != "" && (err == nil || !strings.Contains(err.Error(), tc.missing)) {
			t.Errorf("%+v: %v, want %q", tc.credential, err, tc.missing)
		}
	}
	if n := (identity{uid: unix.Getuid()}).needs(); n != 0 {
		t.Errorf("our own user needs %v", n.names())
	}
	if n := (identity{uid: unix.Getuid() + 1}).needs(); len(n.names()) != 3 {
		t.Errorf("another user needs %v", n.names())
	}
}

func TestAFailedExecSaysWhatWouldHelp(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/nonexistent\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		program string
		err     error
		want    string
	}{
		{filepath.Join(dir, "none"), unix.ENOENT, "does not exist: install it"},
		{script, unix.ENOENT, "interpreter or loader that does not exist"},
		{script, unix.EACCES, "may not be executed by user id"},
		{script, unix.ENOEXEC, "not an executable of this machine"},
		{script, unix.E2BIG, "execute " + script},
	} {
		if err := explainExec(tc.program, tc.err); !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.err, err, tc.want)
		}
	}
}

func TestEveryPhaseAndTransitionHasItsWords(t *testing.T) {
	seen := map[string]bool{}
	for p := PhaseStopped; p <= PhaseFailed; p++ {
		seen[p.String()] = true
	}
	if len(seen) != int(PhaseFailed)+1 || seen["unknown"] || Phase(99).String() != "unknown" {
		t.Errorf("phases %v", seen)
	}
	now := time.Unix(1_700_000_000, 0)
	for next, want := range map[time.Time]time.Duration{{}: 0, now.Add(time.Second): time.Second, now.Add(-time.Second): 0} {
		if got := (State{NextStart: next}).NextStartIn(now); got != want {
			t.Errorf("next start %v: in %v, want %v", next, got, want)
		}
	}
	for _, tc := range []struct {
		event Event
		want  []string
	}{
		{Event{Kind: EventExited, Exit: &Exit{Code: 3, Lines: []string{"no clock"}}}, []string{"level=WARN", "no clock", "exit status 3"}},
		{Event{Kind: EventExited, Exit: &Exit{Asked: true}}, []string{"level=INFO"}},
		{Event{Kind: EventBackingOff, Delay: 2 * time.Second}, []string{"level=INFO", "delay_s=2"}},
		{Event{Kind: EventRestarting, Reason: "no answer"}, []string{"level=WARN", `reason="no answer"`}},
		{Event{Kind: EventStartFailed, Err: errors.New("no such program")}, []string{"level=ERROR", "no such program"}},
	} {
		var text bytes.Buffer
		tc.event.Name = "chronyd"
		logEvent(slog.New(slog.NewTextHandler(&text, nil)), tc.event)
		for _, want := range append(tc.want, "child=chronyd") {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%v: %q lacks %q", tc.event.Kind, text.String(), want)
			}
		}
	}
}
