package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	defaultLine = regexp.MustCompile(`(?m)^#([a-z])`)
	exampleLine = regexp.MustCompile(`(?m)^#\?`)
)

func readReference(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func parseOK(t *testing.T, name, doc string) *Config {
	t.Helper()
	c, err := Parse(name, []byte(doc))
	if err != nil {
		t.Fatalf("parse %s:\n%v", name, err)
	}
	return c
}

// Removing the "#" of every default must change nothing.
func TestReferenceDefaultsAreTheDefaults(t *testing.T) {
	doc := readReference(t)
	asIs := parseOK(t, "reference.toml", doc)
	spelt := parseOK(t, "reference.toml, uncommented", defaultLine.ReplaceAllString(doc, "$1"))
	if diff := cmp.Diff(asIs, spelt); diff != "" {
		t.Errorf("uncommenting the defaults changes the configuration (-as is +uncommented):\n%s", diff)
	}
}

func TestReferenceExamplesOfKeysWithoutDefaultParse(t *testing.T) {
	doc := exampleLine.ReplaceAllString(readReference(t), "")
	doc = strings.Replace(doc, `#keyfile = ""`, `keyfile = "/etc/clockarbiter.keys"`, 1)
	c := parseOK(t, "reference.toml, examples", doc)
	if s := c.NTP.Servers[0]; s.MinPoll == nil || s.MaxPoll == nil || s.Key == nil {
		t.Errorf("examples were not read: %+v", s)
	}
}

// configKeys lists every key of the shape, without indices.
func configKeys(typ reflect.Type, table string) []string {
	var keys []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		elem := f.Type
		if elem.Kind() == reflect.Slice {
			elem = elem.Elem()
		}
		switch {
		case f.Anonymous:
			keys = append(keys, configKeys(f.Type, table)...)
		case elem.Kind() == reflect.Struct:
			keys = append(keys, configKeys(elem, member(table, f.Tag.Get("toml")))...)
		default:
			keys = append(keys, member(table, f.Tag.Get("toml")))
		}
	}
	return keys
}

var indices = regexp.MustCompile(`\[\d+\]`)

func TestReferenceDocumentsEveryKey(t *testing.T) {
	doc := defaultLine.ReplaceAllString(exampleLine.ReplaceAllString(readReference(t), ""), "$1")
	documented := map[string]bool{}
	for key := range indexLines(doc) {
		documented[indices.ReplaceAllString(key, "")] = true
	}
	for _, key := range configKeys(reflect.TypeFor[Config](), "") {
		if !documented[key] {
			t.Errorf("reference.toml does not document %s", key)
		}
	}
}

// Every quoted or numeric end of a range must stand in the comments above its key.
func TestReferenceStatesEveryRange(t *testing.T) {
	comments := referenceComments(readReference(t))
	for _, rule := range Schema() {
		text, ok := comments[rule.Key]
		if !ok || strings.HasPrefix(text, "As in ") {
			continue
		}
		for _, word := range rangeWords(rule.Limit) {
			if !strings.Contains(text, word) {
				t.Errorf("%s: the comment does not state %s: %q", rule.Key, word, text)
			}
		}
	}
}

func rangeWords(limit Limit) []string {
	switch l := limit.(type) {
	case Ints, Floats:
		words, _, _ := strings.Cut(l.String(), " (")
		return []string{strings.ToUpper(words[:1]) + words[1:]}
	case Durations:
		words, zero, _ := strings.Cut(l.String(), `, or "0s" (`)
		return []string{words, strings.TrimSuffix(zero, ")")}
	case OneOf:
		words := make([]string, len(l))
		for i, w := range l {
			words[i] = `"` + w + `"`
		}
		return words
	default:
		return nil
	}
}

// referenceComments returns the comment above each key; keys that follow each other share one.
func referenceComments(doc string) map[string]string {
	comments := map[string]string{}
	table, text, open := "", "", false
	for line := range strings.Lines(doc) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "["):
			table, text, open = strings.Trim(line, "[]"), "", false
		case strings.HasPrefix(line, "# "):
			if !open {
				text, open = "", true
			}
			text += strings.TrimPrefix(line, "# ") + " "
		case strings.Contains(line, " = "):
			name, _, _ := strings.Cut(strings.TrimLeft(line, "#?"), " ")
			if _, seen := comments[table+"."+name]; !seen {
				comments[table+"."+name] = strings.TrimSpace(text)
			}
			open = false
		}
	}
	return comments
}

func TestSchemaHasOneRuleForEveryKey(t *testing.T) {
	var ruled []string
	for _, rule := range Schema() {
		ruled = append(ruled, rule.Key)
	}
	slices.Sort(ruled)
	want := configKeys(reflect.TypeFor[Config](), "")
	slices.Sort(want)
	if diff := cmp.Diff(want, ruled); diff != "" {
		t.Errorf("keys of the shape and rules differ (-shape +schema):\n%s", diff)
	}
}

func TestSchemaAllowsItsOwnDefaults(t *testing.T) {
	d := decoder{report: &report{lines: lineIndex{}}, rules: map[string]Rule{}}
	for _, rule := range Schema() {
		d.rules[rule.Key] = rule
	}
	c := new(Config)
	var visit func(v reflect.Value, table string)
	visit = func(v reflect.Value, table string) {
		for _, f := range fields(v) {
			key := member(table, f.name)
			switch {
			case f.value.Kind() == reflect.Struct:
				visit(f.value, key)
			case f.value.Kind() == reflect.Slice && f.value.Type().Elem().Kind() == reflect.Struct:
				visit(reflect.New(f.value.Type().Elem()).Elem(), key)
			case d.rules[key].Default != nil:
				d.value(f.value, d.rules[key].Default, key, key)
			}
		}
	}
	visit(reflect.ValueOf(c).Elem(), "")
	if len(d.errs) > 0 {
		t.Errorf("defaults out of range:\n%v", d.errs)
	}
}

func TestExamplesParseWithoutWarnings(t *testing.T) {
	files, err := filepath.Glob("examples/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"mixed.toml", "ntp-only.toml", "observe.toml", "ptp-hardware.toml", "ptp-software.toml"}
	var got []string
	for _, file := range files {
		got = append(got, filepath.Base(file))
		_, warnings, err := LoadWithWarnings(file)
		if err != nil {
			t.Errorf("%v", err)
		}
		for _, w := range warnings {
			t.Errorf("warning: %v", w)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("one example per role (-want +got):\n%s", diff)
	}
}
