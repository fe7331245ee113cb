package chrony

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gotest.tools/v3/golden"
)

func TestRender(t *testing.T) {
	for _, test := range []struct {
		golden string
		config Config
	}{
		{"measure-only.conf", Config{Dir: "/run/clockarbiter/chrony", Servers: []Server{{Address: "192.0.2.1"}}}},
		{"no-servers.conf", Config{Dir: "/run/clockarbiter/chrony"}},
		{"every-option.conf", Config{Dir: "/run/clockarbiter/chrony", KeyFile: "/etc/clockarbiter/chrony.keys",
			NTSDumpDir: "/var/lib/clockarbiter/nts", Port: 123, Stratum: 2, Allow: []string{"192.0.2.0/24", "2001:db8::/32"},
			Extra: []string{"hwtimestamp eth0", "ntstrustedcerts /etc/clockarbiter/ca.pem"},
			Servers: []Server{
				{Address: "ntp.example.net", MinPoll: ptr(-4), MaxPoll: ptr(0), IBurst: true, XLeave: true, NTS: true, Options: []string{"maxdelay 0.1", "offset 0.0001"}},
				{Address: "2001:db8::1", Key: ptr(uint32(7)), Port: 1123},
				{Address: "pool.example.net", Pool: true, MaxSources: 3},
			}}},
		{"allow-without-port.conf", Config{Dir: "/run/clockarbiter/chrony", Allow: []string{"192.0.2.0/24"}}},
	} {
		t.Run(test.golden, func(t *testing.T) {
			got, err := Render(test.config)
			if err != nil {
				t.Fatal(err)
			}
			golden.Assert(t, got, test.golden)
		})
	}
}

// Whatever is configured, every server and pool ends in noselect and nothing else is a reference
// than the feed.
func TestRenderLeavesOneReference(t *testing.T) {
	text, err := Render(Config{Dir: "/d", Servers: []Server{{Address: "a", Options: []string{"prefer", "trust"}}, {Address: "b", Pool: true}}})
	if err != nil {
		t.Fatal(err)
	}
	var references int
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "refclock") {
			references++
		}
		if (strings.HasPrefix(line, "server") || strings.HasPrefix(line, "pool")) && !strings.HasSuffix(line, " noselect") {
			t.Errorf("selectable: %q", line)
		}
	}
	if references != 1 {
		t.Errorf("%d reference clocks in\n%s", references, text)
	}
}

func TestRenderRefuses(t *testing.T) {
	valid := func(change func(*Config)) Config {
		c := Config{Dir: "/run/x", Servers: []Server{{Address: "a"}}}
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"line break in an address":   {valid(func(c *Config) { c.Servers[0].Address = "a\nmakestep" }), `server "a\nmakestep"`},
		"two words as an address":    {valid(func(c *Config) { c.Servers[0].Address = "a prefer" }), "want one host name"},
		"empty address":              {valid(func(c *Config) { c.Servers[0].Address = "" }), `server ""`},
		"line break in an option":    {valid(func(c *Config) { c.Servers[0].Options = []string{"iburst\nmakestep 1 -1"} }), "control character"},
		"line break in a directive":  {valid(func(c *Config) { c.Extra = []string{"log x\nmakestep 1 -1"} }), "control character"},
		"line break in a subnet":     {valid(func(c *Config) { c.Allow = []string{"all\nmakestep"} }), "control character"},
		"line break in the key file": {valid(func(c *Config) { c.KeyFile = "/k\nmakestep" }), "key file"},
		"relative directory":         {valid(func(c *Config) { c.Dir = "x" }), "absolute path"},
		"no directory":               {valid(func(c *Config) { c.Dir = "" }), "absolute path"},
		"directory too long":         {valid(func(c *Config) { c.Dir = "/" + strings.Repeat("x", 100) }), "holds 107"},
		"option as a user":           {valid(func(c *Config) { c.User = "-x" }), "user"},
		"steering directive":         {valid(func(c *Config) { c.Extra = []string{"  MakeStep 1 3"} }), "refused: it steers"},
		"second reference":           {valid(func(c *Config) { c.Extra = []string{"refclock PHC /dev/ptp0"} }), "refused"},
		"hidden server":              {valid(func(c *Config) { c.Extra = []string{"include /etc/chrony/x.conf"} }), "not checked"},
		"address twice":              {valid(func(c *Config) { c.Servers = append(c.Servers, Server{Address: "A", Name: "b"}) }), "configured twice"},
		"name twice":                 {valid(func(c *Config) { c.Servers = append(c.Servers, Server{Address: "b", Name: "a"}) }), "used twice"},
		"port out of range":          {valid(func(c *Config) { c.Port = 70000 }), "port 70000"},
		"stratum out of range":       {valid(func(c *Config) { c.Stratum = 16 }), "stratum 16"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := Render(test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q; rendered %q", err, test.want, text)
			}
		})
	}
}

// All that is wrong is said at once.
func TestRenderReportsEveryError(t *testing.T) {
	_, err := Render(Config{Dir: "x", Port: -1, Extra: []string{"local"}})
	for _, want := range []string{`directory "x"`, "port -1", `directive "local"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func TestArgvAndCapabilities(t *testing.T) {
	serving := Config{Binary: "/usr/sbin/chronyd", Dir: "/d", User: "_chrony", Port: 123, Allow: []string{"all"}}
	if diff := cmp.Diff([]string{"/usr/sbin/chronyd", "-x", "-U", "-d", "-f", "/d/chrony.conf", "-u", "_chrony"}, Argv(serving)); diff != "" {
		t.Errorf("argv (-want +got):\n%s", diff)
	}
	high, silent := serving, serving
	high.Port, silent.Allow = 1123, nil
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"serves on a privileged port": {serving, []string{"CAP_NET_BIND_SERVICE"}},
		"serves on a high port":       {high, nil},
		"does not serve":              {silent, nil},
	} {
		if diff := cmp.Diff(test.want, Capabilities(test.config)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
