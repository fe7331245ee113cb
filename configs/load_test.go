package configs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const oneServer = "[[ntp.server]]\naddress = \"192.0.2.1\"\n"

func TestLoadNamesWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.toml")
	if _, err := Load(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("directory: %v", err)
	}
	huge := filepath.Join(dir, "huge.toml")
	if err := os.WriteFile(huge, make([]byte, maxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(huge); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("huge file: %v", err)
	}
}

func TestLoadReportsWarningsWithFileAndLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "one.toml")
	if err := os.WriteFile(path, []byte("# one\n"+oneServer), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := LoadWithWarnings(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || warnings[0].File != path || warnings[0].Line != 2 {
		t.Errorf("warnings: %v", warnings)
	}
	if diff := cmp.Diff(1, len(Warnings(c))); diff != "" {
		t.Errorf("Warnings (-want +got):\n%s", diff)
	}
}

func TestDefaultsThatFollowFromOtherKeys(t *testing.T) {
	type derived struct {
		Socket       string
		Port         int
		MinAgreement int
	}
	for _, tc := range []struct {
		name, doc string
		want      derived
	}{
		{"nothing given", oneServer, derived{"/run/clockarbiter/status.sock", 0, 1}},
		{"two sources can agree", oneServer + "[[ptp.interface]]\nname = \"eth0\"\n", derived{"/run/clockarbiter/status.sock", 0, 2}},
		{"a pool counts with its sources", "[[ntp.server]]\naddress = \"p\"\npool = true\n", derived{"/run/clockarbiter/status.sock", 0, 2}},
		{"the socket follows run_dir", "[paths]\nrun_dir = \"/run/x/\"\n" + oneServer, derived{"/run/x/status.sock", 0, 1}},
		{"allow serves on port 123", "[ntp]\nallow = [\"192.0.2.0/24\"]\n" + oneServer, derived{"/run/clockarbiter/status.sock", 123, 1}},
		{"port given", "[ntp]\nport = 1123\nallow = [\"::/0\"]\n" + oneServer, derived{"/run/clockarbiter/status.sock", 1123, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := parseOK(t, "test.toml", tc.doc)
			got := derived{c.Paths.StatusSocket, c.NTP.Port, c.Clock.Step.MinAgreement}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("derived defaults (-want +got):\n%s", diff)
			}
		})
	}
}

// The literal values, so that a default that changes in schema.go is seen here.
func TestDefaults(t *testing.T) {
	got := parseOK(t, "test.toml", oneServer)
	want := &Config{
		Clock: Clock{
			Driver: "kernel", Interval: Duration(250 * time.Millisecond), MaxSlewPPM: 400, MaxFrequencyPPM: 500,
			ForeignWrite: "defend", ForeignAttempts: 8, ForeignQuiet: Duration(10 * time.Minute),
			Step: Step{Threshold: Duration(time.Millisecond), AtStart: true, MinAgreement: 1, AgreementWait: Duration(10 * time.Second), Panic: Duration(1000 * time.Second)},
		},
		Arbiter: Arbiter{
			MinSources: 1, MaxDistance: Duration(1500 * time.Millisecond), MaxJitter: Duration(100 * time.Millisecond),
			Settle: 4, ImprovementHold: Duration(10 * time.Second), DegradationHold: Duration(3 * time.Second),
			Hysteresis: 2, Disagreement: "keep", LockThreshold: Duration(50 * time.Microsecond),
			HoldoverMaxBound: Duration(10 * time.Millisecond), HoldoverMaxTime: Duration(24 * time.Hour),
			Witness: true, Quarantine: Duration(24 * time.Hour), LearnBias: true, BiasMaxAge: Duration(24 * time.Hour), Combine: true,
			Limits:    []Duration{Duration(100 * time.Microsecond), Duration(time.Millisecond), Duration(50 * time.Millisecond)},
			NotBefore: "2026-01-01", NotAfter: "2046-01-01", LeapTable: "auto",
		},
		NTP: NTP{Chronyd: "chronyd", Servers: []NTPServer{{Address: "192.0.2.1", Port: 123, MaxSources: 4}}},
		PTP: PTP{PTP4L: "ptp4l"},
		Paths: Paths{
			RunDir: "/run/clockarbiter", StateDir: "/var/lib/clockarbiter", StatusSocket: "/run/clockarbiter/status.sock",
		},
		Process: Process{
			Grace: Duration(2 * time.Second), BackoffMin: Duration(500 * time.Millisecond), BackoffMax: Duration(30 * time.Second),
			HealthyFor: Duration(time.Minute), SampleTimeout: Duration(time.Minute),
		},
		Record: Record{Dir: "/var/lib/clockarbiter/recordings", MaxSizeMiB: 16, Keep: 8},
		Log:    Log{Level: "info", Format: "auto"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestValuesReachTheirFields(t *testing.T) {
	got := parseOK(t, "test.toml", `
[clock]
max_slew_ppm = 100
[[ntp.server]]
address = "192.0.2.1"
minpoll = -2
maxpoll = 0
key = 7
trust = true
floor = "1.5ms"
options = ["maxdelay 0.1"]
[[ptp.interface]]
name = "eth0.100"
domain = 24
utc_offset = "0"
options = { hybrid_e2e = 1, "G.8275.portDS.localPriority" = "10" }
[ntp]
keyfile = "/etc/keys"
`)
	low, high, key := -2, 0, uint32(7)
	if diff := cmp.Diff([]NTPServer{{
		Address: "192.0.2.1", MinPoll: &low, MaxPoll: &high, Key: &key, Port: 123, MaxSources: 4,
		Options: []string{"maxdelay 0.1"},
		Select:  Select{Trust: true, Floor: Duration(1500 * time.Microsecond)},
	}}, got.NTP.Servers); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]PTPInterface{{
		Name: "eth0.100", Domain: 24, Transport: "UDPv4", DelayMechanism: "E2E", Timestamping: "auto", UTCOffset: "0",
		Options: map[string]string{"hybrid_e2e": "1", "G.8275.portDS.localPriority": "10"},
	}}, got.PTP.Interfaces); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
	if got.Clock.MaxSlewPPM != 100 {
		t.Errorf("max_slew_ppm = %v", got.Clock.MaxSlewPPM)
	}
}

func TestDurationText(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "50us": 50 * time.Microsecond, "1.5s": 1500 * time.Millisecond, "24h": 24 * time.Hour,
		"1m": time.Minute, "1h0m1s": time.Hour + time.Second, "10m": 10 * time.Minute, "-1ms": -time.Millisecond,
		"100ns": 100, "10s": 10 * time.Second, "20h": 20 * time.Hour,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%q is %v, %v; want %v", text, d.Std(), err, want)
		}
		if got, err := d.MarshalText(); err != nil || string(got) != text {
			t.Errorf("%v is written %q, %v; want %q", want, got, err, text)
		}
	}
	for _, text := range []string{"", "250", "1 s", "ten", "1d"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %v", text, d)
		}
	}
}

func TestErrorTextNamesFileLineKeyValueAndRange(t *testing.T) {
	e := Error{File: "/etc/clockarbiter.toml", Line: 12, Key: "ntp.server[0].minpoll", Value: "77", Allowed: "-6 to 24 (log2 seconds)"}
	want := "/etc/clockarbiter.toml:12: ntp.server[0].minpoll = 77: allowed -6 to 24 (log2 seconds)"
	if got := e.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := (Errors{e, {Line: 3, Key: "log", Problem: "unknown key"}}).Error(); got != want+"\nline 3: log: unknown key" {
		t.Errorf("two errors: %s", got)
	}
	var one Error
	if !errors.As(Errors{e}, &one) || one != e {
		t.Errorf("errors.As finds %v", one)
	}
}

// Each reserved word must be refused by its checker, with its reason.
func TestEveryReservedWordIsRefused(t *testing.T) {
	for name, why := range reservedDirectives {
		c := "[ntp]\nextra = [\"" + strings.ToUpper(name) + " 1\"]\n" + oneServer
		wantRefusal(t, c, name, why)
	}
	for name, why := range reservedServerOptions {
		wantRefusal(t, oneServer+"options = [\"maxdelay 1 "+name+"\"]\n", name, why)
	}
	for name, why := range reservedPTPOptions {
		wantRefusal(t, "[[ptp.interface]]\nname = \"eth0\"\noptions = { "+name+" = 1 }\n", name, why)
	}
}

func wantRefusal(t *testing.T, doc, name, why string) {
	t.Helper()
	_, err := Parse("test.toml", []byte(doc))
	errs, _ := errors.AsType[Errors](err)
	if len(errs) != 1 || !strings.Contains(errs[0].Problem, why) || !strings.Contains(strings.ToLower(errs[0].Error()), name) {
		t.Errorf("%s: %v", name, err)
	}
}
