package supervisor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/BurntSushi/toml"

	"clockarbiter/configs"
)

// everyString is a valid configuration in which every key that takes text has some.
const everyString = `
[clock]
driver = "virtual"
interval = "250ms"
foreign_write = "defend"
foreign_quiet = "10m"
temperature = "/sys/class/thermal/thermal_zone0/temp"
[clock.step]
threshold = "1ms"
agreement_wait = "10s"
panic = "1000s"
[clock.virtual]
initial_offset = "1ms"
stranger = "/run/clockarbiter/stranger.sock"
[arbiter]
max_distance = "1s"
max_jitter = "100ms"
max_age = "10s"
improvement_hold = "10s"
degradation_hold = "3s"
disagreement = "keep"
lock_threshold = "50us"
holdover_max_bound = "10ms"
holdover_max_time = "24h"
quarantine = "24h"
bias_max_age = "24h"
not_before = "2026-01-01"
not_after = "2046-01-01"
limits = ["1ms"]
leap_table = "/usr/share/zoneinfo/leap-seconds.list"
[ntp]
chronyd = "chronyd"
user = "_chrony"
allow = ["192.0.2.0/24"]
port = 123
keyfile = "/etc/chrony.keys"
extra = ["noclientlog"]
[[ntp.server]]
address = "ntp.example.net"
options = ["maxdelay 0.1"]
floor = "1us"
[[ptp.interface]]
name = "veth0"
transport = "UDPv4"
delay_mechanism = "E2E"
timestamping = "software"
unicast = ["192.0.2.9"]
utc_offset = "37"
floor = "1us"
[ptp.interface.options]
priority1 = "128"
[ptp]
ptp4l = "ptp4l"
user = "nobody"
[paths]
run_dir = "/run/clockarbiter"
state_dir = "/var/lib/clockarbiter"
status_socket = "/run/clockarbiter/status.sock"
status_group = "adm"
[process]
grace = "2s"
backoff_min = "500ms"
backoff_max = "30s"
healthy_for = "60s"
sample_timeout = "60s"
[record]
dir = "/var/lib/clockarbiter/recordings"
[log]
level = "info"
format = "auto"
`

// poisons are what could end a line, a word, a section or a comment somewhere.
var poisons = []string{
	"\n", "\r", "\r\n", "\x00", "\x1b[2J", "\u0085", "\u2028", "\u2029", "\v", "\f", "\t", " #", " ;", "#", "!", "%", " ", "\"", "'", "`", "$(reboot)", "\\n", "\\",
	"\nmakestep 1 -1", "\nfree_running 0", "\n[global]", "]\n[eth1", "\nbindcmdaddress 0.0.0.0", " -f /tmp/x", "\xff", "../..", "*", ";reboot", "|reboot",
}

// leaf is one text in a configuration, a key of a table of options among them.
type leaf struct {
	path string
	text string
	set  func(string)
}

// leaves lists every text below a value.
func leaves(path string, v any, set func(any)) (list []leaf) {
	switch v := v.(type) {
	case string:
		return []leaf{{path, v, func(s string) { set(s) }}}
	case map[string]any:
		for key, inner := range v {
			list = append(list, leaves(path+"."+key, inner, func(n any) { v[key] = n })...)
			if strings.HasSuffix(path, ".options") {
				list = append(list, leaf{path + " key", key, func(s string) { delete(v, key); v[s] = inner }})
			}
		}
	case []any:
		for i := range v {
			list = append(list, leaves(path, v[i], func(n any) { v[i] = n })...)
		}
	case []map[string]any:
		for i := range v {
			list = append(list, leaves(path, v[i], func(any) {})...)
		}
	}
	return list
}

// texts lists the keys of a configuration that are text.
func texts(path string, t reflect.Type) (keys []string) {
	duration := reflect.TypeFor[configs.Duration]()
	switch {
	case t == duration || t.Kind() == reflect.String:
		return []string{path}
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice:
		return texts(path, t.Elem())
	case t.Kind() == reflect.Map:
		return []string{path + " key"}
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			inner := path
			if name := f.Tag.Get("toml"); name != "" {
				inner += "." + name
			}
			keys = append(keys, texts(inner, f.Type)...)
		}
	}
	return keys
}

func tree(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if _, err := toml.Decode(everyString, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// rendered is every word and line that a plan hands to a child.
func rendered(t *testing.T, text []byte) (files []string, argv [][]string, err error) {
	t.Helper()
	cfg, err := configs.Parse("test.toml", text)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range NewPlan(cfg, hostFacts()).Children {
		argv = append(argv, c.Argv)
		for _, f := range c.Files {
			files = append(files, f.Content)
		}
	}
	return files, argv, nil
}

func TestNoTextOfTheConfigurationCanInjectADirective(t *testing.T) {
	files, argv, err := rendered(t, []byte(everyString))
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	covered := map[string]bool{}
	count, passed := 0, 0
	for n, l := range leaves("", tree(t), nil) {
		covered[l.path] = true
		for _, poison := range poisons {
			for _, text := range []string{l.text + poison, poison + l.text} {
				m := tree(t)
				for _, other := range leaves("", m, nil) {
					if other.path == l.path && other.text == l.text {
						other.set(text)
						break
					}
				}
				var b bytes.Buffer
				if err := toml.NewEncoder(&b).Encode(m); err != nil {
					t.Fatal(err)
				}
				count++
				gotFiles, gotArgv, err := rendered(t, b.Bytes())
				if err != nil {
					if problem := control(err.Error()); problem != "" {
						t.Errorf("%s = %q: the error itself has %s: %q", l.path, text, problem, err)
					}
					continue
				}
				passed++
				if problem := differs(files, gotFiles, argv, gotArgv); problem != "" {
					t.Errorf("%d: %s = %q is accepted, and %s", n, l.path, text, problem)
				}
			}
		}
	}
	for _, key := range texts("", reflect.TypeFor[configs.Config]()) {
		if !covered[key] {
			t.Errorf("%s takes text and is not in this test's configuration", key)
		}
	}
	t.Logf("%d poisoned configurations, %d accepted and rendered without harm", count, passed)
}

// control names a character in a text that a terminal or a parser may act on, other than the end of a line.
func control(s string) string {
	for _, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			return fmt.Sprintf("the character %q", r)
		}
	}
	return ""
}

// differs says what is in the poisoned files and arguments that a harmless text could not bring.
func differs(files, gotFiles []string, argv, gotArgv [][]string) string {
	if len(files) != len(gotFiles) || len(argv) != len(gotArgv) {
		return "makes other files or children"
	}
	for i := range files {
		if problem := control(gotFiles[i]); problem != "" {
			return "a file has " + problem
		}
		was, is := strings.Split(files[i], "\n"), strings.Split(gotFiles[i], "\n")
		if len(was) != len(is) {
			return fmt.Sprintf("a file has %d lines instead of %d:\n%s", len(is), len(was), gotFiles[i])
		}
		for k := range was {
			if w, g := firstWord(was[k]), firstWord(is[k]); w != g && !strings.HasPrefix(g, "[") && !strings.Contains(everyString, w+" = ") && !strings.Contains(everyString, `"`+w) {
				return fmt.Sprintf("a line begins with %q instead of %q", g, w)
			}
		}
	}
	for i := range argv {
		if len(argv[i]) != len(gotArgv[i]) {
			return fmt.Sprintf("a child has other arguments: %q", gotArgv[i])
		}
		for _, a := range gotArgv[i] {
			if problem := control(a); problem != "" {
				return "an argument has " + problem
			}
		}
	}
	text, err := json.Marshal(gotArgv)
	if err != nil || strings.Contains(string(text), "reboot") {
		return fmt.Sprintf("an argument has a command: %s", text)
	}
	return ""
}

func firstWord(line string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return word
}
