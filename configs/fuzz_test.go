package configs

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"clockarbiter/integration/frugal"
)

func addCorpus(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"reference.toml", "examples/*.toml", "testdata/*.txt"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no corpus in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			input, _, _ := strings.Cut(string(data), verdictMark)
			f.Add(input)
		}
	}
	f.Add("a = \"\"\"\"x\"\"\"\"\"\nb.'c.d'.\"\\u0065\" = [[{}], [ { f.g = 1 } ]] # ]\n[[x]]\n[[x.y]]\n[x.y.z]\nk=1979-05-27 07:32:00\n[[x]]\n[[x.y]]\r\n")
}

// Whatever is read: either one or more one-line errors with the file's name, or a configuration
// whose strings cannot add a line to a rendered file.
func FuzzParse(f *testing.F) {
	addCorpus(f)
	f.Fuzz(func(t *testing.T, doc string) {
		var c *Config
		var err error
		frugal.Parse(t, len(doc), func() { c, err = Parse("fuzz.toml", []byte(doc)) })
		if err != nil {
			checkErrors(t, doc, err)
			return
		}
		for _, word := range allStrings(c) {
			if !isPlain(word) {
				t.Errorf("%q was let through", word)
			}
		}
		if possibleSources(c) == 0 && c.Clock.Driver != "observe" {
			t.Errorf("valid without a source:\n%s", doc)
		}
		again, err := Parse("fuzz.toml", []byte(doc))
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Errorf("read twice (-first +second), %v:\n%s", err, diff)
		}
	})
}

func checkErrors(t *testing.T, doc string, err error) {
	t.Helper()
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) == 0 {
		t.Fatalf("not Errors: %v", err)
	}
	for _, e := range errs {
		text := e.Error()
		if !strings.HasPrefix(text, "fuzz.toml") || strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("not one printable line: %q", text)
		}
		if e.Line < 0 || e.Line > strings.Count(doc, "\n")+1 {
			t.Errorf("line %d of %d: %v", e.Line, strings.Count(doc, "\n")+1, e)
		}
	}
}

func allStrings(c *Config) []string {
	words := []string{c.NTP.Chronyd, c.NTP.User, c.NTP.KeyFile, c.PTP.PTP4L, c.PTP.User, c.Paths.RunDir, c.Paths.StateDir, c.Paths.StatusSocket, c.Record.Dir}
	words = append(append(words, c.NTP.Allow...), c.NTP.Extra...)
	for _, s := range c.NTP.Servers {
		words = append(append(words, s.Address), s.Options...)
	}
	for _, p := range c.PTP.Interfaces {
		words = append(append(words, p.Name, p.UTCOffset), p.Unicast...)
		for name, value := range p.Options {
			words = append(words, name, value)
		}
	}
	return words
}

var lastMember = regexp.MustCompile(`(?:^|\.)([A-Za-z0-9_-]+)$`)

// Every key of every document that the TOML library accepts has a line, and its name stands there.
func FuzzLineIndexAgreesWithTOML(f *testing.F) {
	addCorpus(f)
	f.Fuzz(func(t *testing.T, doc string) {
		var tree map[string]any
		if _, err := toml.Decode(doc, &tree); err != nil {
			indexLines(doc) // must end all the same
			return
		}
		index := indexLines(doc)
		text := strings.Split(doc, "\n")
		count := 0
		walkTree(tree, "", func(key string) {
			count++
			line, ok := index[key]
			if !ok {
				t.Fatalf("no line of %s", key)
			}
			if line < 1 || line > len(text) {
				t.Fatalf("%s in line %d of %d", key, line, len(text))
			}
			m := lastMember.FindStringSubmatch(key)
			if m != nil && !strings.Contains(text[line-1], m[1]) && !strings.Contains(text[line-1], `\`) {
				t.Errorf("%s is not in line %d: %q", key, line, text[line-1])
			}
		})
		if count != len(index) {
			t.Errorf("%d keys in the document, %d in the index: %v", count, len(index), index)
		}
	})
}

func walkTree(value any, key string, visit func(string)) {
	if key != "" {
		visit(key)
	}
	if table, ok := value.(map[string]any); ok {
		for name, v := range table {
			walkTree(v, member(key, name), visit)
		}
		return
	}
	elements, _ := elementsOf(value)
	for i, v := range elements {
		walkTree(v, element(key, i), visit)
	}
}
