package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// leastScenarios keeps a wrong path from passing as a run without failures.
const leastScenarios = 80

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) < leastScenarios {
		t.Fatalf("%d scenarios, want at least %d: %v", len(files), leastScenarios, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(data), "# ") {
				t.Error("the file does not begin with what it is about")
			}
			s, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			r, broken, err := s.Run()
			if err != nil {
				t.Fatal(err)
			}
			for _, why := range broken {
				t.Error(why)
			}
			if !t.Failed() {
				return
			}
			for _, ev := range r.Events {
				t.Logf("%9.2fs %-20s %-12s %s", time.Duration(ev.At).Seconds(), ev.Kind, ev.Source, ev.Text)
			}
			t.Logf("true error: max %.2f us, selections %v, modes %v", r.Max/1000, r.Selections, r.Modes)
		})
	}
}
