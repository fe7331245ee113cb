package ptp

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/golden"
)

func config() Config {
	return Config{
		Binary: "/usr/sbin/ptp4l", Version: Release{3, 1, 1}, Dir: "/run/clockarbiter/eth0-0", Interfaces: []string{"eth0"}, Mode: Software,
		Settings: Settings{Transport: "UDPv4", DelayMechanism: "E2E"},
	}
}

func with(changes ...func(*Config)) Config {
	c := config()
	for _, f := range changes {
		f(&c)
	}
	return c
}

func TestRender(t *testing.T) {
	for _, c := range []struct {
		golden string
		Config
	}{
		{"software-3.1", config()},
		{"software-4.2", with(func(c *Config) { c.Version = Release{4, 2, 0} })},
		{"hardware-shared-phc", with(func(c *Config) {
			c.Mode, c.Interfaces, c.Transport, c.DelayMechanism, c.Domain = Hardware, []string{"ens1f0", "ens1f1"}, "L2", "P2P", 24
		})},
		{"unicast", with(func(c *Config) {
			c.Unicast = []string{"192.0.2.1", "192.0.2.2"}
			c.Options = map[string]string{"dscp_event": "46", "delayAsymmetry": "-120"}
		})},
	} {
		got, err := Render(c.Config)
		if err != nil {
			t.Fatalf("%s: %v", c.golden, err)
		}
		got += "\n# argv: " + strings.Join(Argv(c.Config), " ") + "\n# capabilities: " + strings.Join(LinuxCapabilities(c.Config), " ") + "\n"
		golden.Assert(t, got, filepath.Join("render", c.golden+".txt"))
	}
}

func TestNoInstanceMaySetTheSystemClock(t *testing.T) {
	for _, mode := range []Mode{Software, Hardware} {
		for _, transport := range []string{"UDPv4", "UDPv6", "L2"} {
			c := with(func(c *Config) { c.Mode, c.Transport = mode, transport })
			text, err := Render(c)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(text, "\n")
			if !slices.Contains(lines, "kernel_leap 0") || (mode == Software) != slices.Contains(lines, "free_running 1") {
				t.Errorf("%v over %s:\n%s", mode, transport, text)
			}
			if slices.Contains(LinuxCapabilities(c), "CAP_SYS_TIME") {
				t.Errorf("%v over %s asks for CAP_SYS_TIME", mode, transport)
			}
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	option := func(key, value string) func(*Config) {
		return func(c *Config) { c.Options = map[string]string{key: value} }
	}
	for _, c := range []struct {
		name, want string
		change     func(*Config)
	}{
		{"no interface", "without an interface", func(c *Config) { c.Interfaces = nil }},
		{"two interfaces with software timestamps", "needs hardware", func(c *Config) { c.Interfaces = []string{"a", "b"} }},
		{"an interface with a line break", "not a valid interface", func(c *Config) { c.Interfaces = []string{"eth0]\n[x"} }},
		{"an interface named as a section", "not a valid interface", func(c *Config) { c.Interfaces = []string{"global"} }},
		{"an interface name that is too long", "not a valid interface", func(c *Config) { c.Interfaces = []string{"abcdefghijklmnop"} }},
		{"no mode", "mode is not chosen", func(c *Config) { c.Mode = 0 }},
		{"a relative directory", "absolute", func(c *Config) { c.Dir = "run" }},
		{"a directory with a space", "absolute", func(c *Config) { c.Dir = "/run/a b" }},
		{"a directory too long for a socket", "Unix socket takes 107", func(c *Config) { c.Dir = "/" + strings.Repeat("d", 100) }},
		{"a domain out of range", "0 to 255", func(c *Config) { c.Domain = 256 }},
		{"an unknown transport", "transport", func(c *Config) { c.Transport = "TCP" }},
		{"an unknown delay mechanism", "delay_mechanism", func(c *Config) { c.DelayMechanism = "AUTO" }},
		{"an IPv6 master for UDPv4", "for transport UDPv4", func(c *Config) { c.Unicast = []string{"2001:db8::1"} }},
		{"a master that is no address", "for transport UDPv4", func(c *Config) { c.Unicast = []string{"gm\nfree_running 0"} }},
		{"an address for L2", "MAC", func(c *Config) { c.Transport, c.Unicast = "L2", []string{"192.0.2.1"} }},
		{"the clock taken back", "decided by clockarbiter", option("free_running", "0")},
		{"the kernel's leap taken back", "decided by clockarbiter", option("kernel_leap", "1")},
		{"a servo that writes to the kernel", "pi", option("clock_servo", "ntpshm")},
		{"a user that keeps capabilities", "decided by clockarbiter", option("user", "root")},
		{"an option with a line break", "printable", option("dscp_event", "1\nfree_running 0")},
		{"an option name with a line break", "not an option name", option("a\nfree_running", "0")},
		{"an empty option", "not empty", option("dscp_event", "")},
	} {
		if text, err := Render(with(c.change)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q\n%s", c.name, err, c.want, text)
		}
	}
}

func TestParseRelease(t *testing.T) {
	for text, want := range map[string]Release{
		"3.1.1\n": {3, 1, 1}, "4.2": {4, 2, 0}, "v4.4": {4, 4, 0}, "4.4-00012-gdeadbee": {4, 4, 0},
	} {
		if got, err := ParseRelease(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "ptp4l", "missing option", "4", "99999.1"} {
		if got, err := ParseRelease(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if !(Release{3, 1, 1}).Before(Release{4, 0, 0}) || (Release{4, 2, 0}).Before(Release{4, 2, 0}) || !(Release{3, 1, 0}).Before(Release{3, 1, 1}) {
		t.Error("releases are out of order")
	}
}

func TestVersionOfAMissingProgram(t *testing.T) {
	if _, err := Version(t.Context(), "/nonexistent/ptp4l"); err == nil || !strings.Contains(err.Error(), "/nonexistent/ptp4l") {
		t.Errorf("error is %v", err)
	}
}

// A program of the right name that never stops talking costs neither time nor memory.
func TestVersionOfAProgramWithoutAnEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ptp4l")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nyes 4.2 | head -c 50000000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Version(t.Context(), path)
	runtime.ReadMemStats(&after)
	if err != nil || r.String() != "4.2" || after.TotalAlloc-before.TotalAlloc > 4<<20 {
		t.Errorf("%v, %v, %d bytes", r, err, after.TotalAlloc-before.TotalAlloc)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nsleep 20 &\nsleep 20\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := Version(ctx, path); err == nil || time.Since(begin) > 15*time.Second {
		t.Errorf("a program that hangs: %v after %v", err, time.Since(begin))
	}
}
