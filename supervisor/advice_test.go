package supervisor

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// constantsOf returns the values of the arbiter's constants whose names begin with prefix.
func constantsOf(t *testing.T, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob("../arbiter/*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\s+` + prefix + `[A-Z]\w*\s+= "([a-z0-9-]+)"`)
	var values []string
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
			values = append(values, m[1])
		}
	}
	return values
}

func TestEveryFaultHasItsAdvice(t *testing.T) {
	faults := constantsOf(t, "Fault")
	if len(faults) < 20 {
		t.Fatalf("%d faults found", len(faults))
	}
	said := map[string]string{}
	for _, f := range faults {
		a := Advice(f)
		if !strings.HasSuffix(a, ".") || said[a] != "" {
			t.Errorf("%s: no advice of its own: %q", f, a)
		}
		said[a] = f
	}
	if Advice("unheard-of") != "" {
		t.Error("advice on a fault that does not exist")
	}
}

func TestEveryRuleHasItsMeaning(t *testing.T) {
	rules := constantsOf(t, "Rule")
	if len(rules) < 14 {
		t.Fatalf("%d rules found", len(rules))
	}
	for _, r := range rules {
		if RuleMeaning(r) == "" {
			t.Errorf("%s has no meaning", r)
		}
	}
}

func TestAFaultIsJournalledWithItsAdvice(t *testing.T) {
	dir := t.TempDir()
	r, stop := taped(t, filepath.Join(dir, "recordings"))
	defer stop()
	story(t, r)
	seen := 0
	for _, e := range r.journal.entries {
		if e.ID != MessageFaultRaised {
			continue
		}
		seen++
		if e.Fields["ADVICE"] != Advice(e.Fields["TO"]) || e.Fields["ADVICE"] == "" {
			t.Errorf("%s: advice %q", e.Message, e.Fields["ADVICE"])
		}
	}
	if seen == 0 {
		t.Error("no fault in the story")
	}
	catalog, err := os.ReadFile("../deploy/journal/clockarbiter.catalog")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(catalog), "-- "+string(MessageFaultRaised))
	if text, _, _ = strings.Cut(text, "\n-- "); !strings.Contains(text, "@ADVICE@") {
		t.Error("the catalog does not show the advice")
	}
}
