package sim

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

var (
	seeds  = flag.Uint64("seeds", quick.Seeds, "runs of each scenario of the benchmark; docs/benchmark.md has 20")
	hours  = flag.Float64("hours", quick.Hours, "length of the steady scenarios of the benchmark; docs/benchmark.md has 4")
	table  = flag.String("table", "", "write the benchmark's table to this file")
	update = flag.Bool("update", false, "pin the present figures")
)

// quick is the effort of every test run.
var quick = Effort{Seeds: 1, Hours: 0.5}

const (
	pinnedFile = "testdata/figures.txt"
	// margin is by how much a figure may be worse than the pinned one.
	margin = 1.10
)

func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.ErrorLevel) // the peer's servo warns of its own first samples
	os.Exit(m.Run())
}

// TestFigures asserts every figure of the benchmark against what it must be, and against what it was.
func TestFigures(t *testing.T) {
	effort := Effort{Seeds: *seeds, Hours: *hours}
	figures, err := Figures(effort)
	if err != nil {
		t.Fatal(err)
	}
	if err := printTable(figures); err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		if !f.Holds() {
			t.Errorf("%s: %.4g %s, must be at most %.4g", f.Name, f.Got, f.Unit, f.Must)
		}
	}
	if effort == quick {
		comparePinned(t, figures)
	}
}

func printTable(figures []Figure) error {
	var out io.Writer = os.Stdout
	if *table != "" {
		file, err := os.Create(*table)
		if err != nil {
			return err
		}
		defer file.Close()
		out = file
	}
	return WriteFigures(out, figures)
}

func comparePinned(t *testing.T, figures []Figure) {
	t.Helper()
	if *update {
		var text strings.Builder
		for _, f := range figures {
			fmt.Fprintf(&text, "%.4g\t%s\n", f.Got, f.Name)
		}
		if err := os.WriteFile(pinnedFile, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pinned := readPinned(t)
	for _, f := range figures {
		was, ok := pinned[f.Name]
		if !ok {
			t.Errorf("%s is not pinned; -update does it", f.Name)
			continue
		}
		if f.Got > was*margin+0.01 {
			t.Errorf("%s: %.4g %s, was %.4g: worse by more than the margin of %g", f.Name, f.Got, f.Unit, was, margin)
		}
	}
}

func readPinned(t *testing.T) map[string]float64 {
	t.Helper()
	file, err := os.Open(pinnedFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pinned := map[string]float64{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		value, name, _ := strings.Cut(lines.Text(), "\t")
		got, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", pinnedFile, err)
		}
		pinned[name] = got
	}
	return pinned
}
