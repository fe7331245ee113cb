package configs

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the verdicts in testdata")

const verdictMark = "\n---- verdict\n"

// Each file of testdata holds an input, the mark, and the errors or else the warnings.
func TestVerdicts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := strings.Cut(string(data), verdictMark)
			if !found && !*update {
				t.Fatalf("%s has no verdict", file)
			}
			got := verdict(input)
			if *update {
				if err := os.WriteFile(file, []byte(input+verdictMark+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func verdict(input string) string {
	_, warnings, err := parse("test.toml", []byte(input))
	var out strings.Builder
	if errs, ok := errors.AsType[Errors](err); ok {
		for _, e := range errs {
			out.WriteString("error: " + e.Error() + "\n")
		}
	}
	for _, w := range warnings {
		out.WriteString("warning: " + w.Error() + "\n")
	}
	if out.Len() == 0 {
		return "valid\n"
	}
	return out.String()
}
