package sim

import (
	"flag"
	"os"
	"testing"

	"github.com/sirupsen/logrus"
)

var (
	seeds = flag.Uint64("seeds", 1, "runs of each scenario of the benchmark; docs/benchmark.md has 20")
	hours = flag.Float64("hours", 0.5, "length of the steady scenarios of the benchmark; docs/benchmark.md has 4")
	table = flag.String("table", "", "write the benchmark's table to this file")
)

func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.ErrorLevel) // the peer's servo warns of its own first samples
	os.Exit(m.Run())
}

func TestFigures(t *testing.T) {
	figures, err := Figures(Effort{Seeds: *seeds, Hours: *hours})
	if err != nil {
		t.Fatal(err)
	}
	out := os.Stdout
	if *table != "" {
		if out, err = os.Create(*table); err != nil {
			t.Fatal(err)
		}
		defer out.Close()
	}
	if err := WriteFigures(out, figures); err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		if !f.Holds() {
			t.Errorf("%s: %.4g %s, must be at most %.4g", f.Name, f.Got, f.Unit, f.Must)
		}
	}
}
