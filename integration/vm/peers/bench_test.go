package peers_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"clockarbiter/integration/vm/peers"
)

// enabled says that a test run may take minutes and a core: make test-vm and make bench-peers set it.
const enabled = "CLOCKARBITER_VM"

var (
	runs = flag.String("runs", "", "measure everything and keep the runs in this directory; for make bench-peers")
	docs = flag.String("docs", "", "write the report to this directory")
	only = flag.String("only", "", "measure only runs whose PEER/SCENARIO matches this regular expression")
)

// TestBenchmark measures all peers in all scenarios, and their variants.
func TestBenchmark(t *testing.T) {
	if *runs == "" || os.Getenv(enabled) == "" {
		t.Skip("make bench-peers runs it")
	}
	for _, p := range peers.Peers() {
		for _, s := range peers.All() {
			measure(t, p, s)
		}
	}
	for _, p := range peers.Variants() {
		for _, s := range peers.Steady() {
			measure(t, p, s)
		}
	}
	p, s := peers.FloorRun()
	measure(t, p, s)
}

// TestReport writes the document from the runs that were kept.
func TestReport(t *testing.T) {
	if *runs == "" || *docs == "" {
		t.Skip("make bench-peers runs it")
	}
	rs, err := peers.LoadAll(*runs)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(*docs, "benchmark-peers.md"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rs.Report(f), f.Close(), rs.Plots(*docs)); err != nil {
		t.Fatal(err)
	}
	for _, r := range rs.Ratios() {
		t.Logf("%+v", r)
	}
}

func measure(t *testing.T, p peers.Peer, s peers.Scenario) {
	name := fmt.Sprintf("%s/%s", p.Name, s.Name)
	if !regexp.MustCompile(*only).MatchString(name) {
		return
	}
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		r := peers.Execute(t, p, s)
		if err := r.Save(*runs); err != nil {
			t.Fatal(err)
		}
		t.Log(peers.FiguresOf(r))
	})
}
