package peers_test

import (
	"os"
	"testing"
	"time"

	"clockarbiter/integration/vm/peers"
)

// fewStarts of ours beside as many of timemaster's are held to fewStarted; a third, which is asked for, is what the
// medians of more of them show (docs/benchmark-peers.md).
const (
	fewStarts  = 3
	fewStarted = 0.5
)

// TestQuick is the short form of the benchmark: one run each and a few starts, and the ratios asserted.
func TestQuick(t *testing.T) {
	if os.Getenv(enabled) == "" {
		t.Skip("make test-vm runs it")
	}
	rs := new(peers.Results)
	death := peers.Scenarios()[0]
	death.Settle, death.Locked, death.After = 2*time.Minute, 2*time.Minute, 2*time.Minute
	t.Run("measure", func(t *testing.T) {
		for _, p := range peers.Peers() {
			if p.Name == peers.Accident {
				continue
			}
			scenarios := []peers.Scenario{death}
			if p.Name == peers.Clockarbiter || p.Name == peers.Timemaster {
				scenarios = append(scenarios, peers.Starts(fewStarts)...)
			}
			for _, s := range scenarios {
				t.Run(p.Name+", "+s.Name, func(t *testing.T) {
					t.Parallel()
					r := peers.Execute(t, p, s)
					t.Log(peers.FiguresOf(r))
					rs.Add(r)
				})
			}
		}
	})
	for _, r := range rs.QuickRatios() {
		if r.What == peers.ColdStart {
			r.Max = fewStarted
		}
		t.Logf("%s: %.2f %s, at most %.2f %s", r.What, r.Got, r.Unit, r.Max, r.Unit)
		if !r.Holds() {
			t.Errorf("%s: %.2f %s, want %.2f %s at most", r.What, r.Got, r.Unit, r.Max, r.Unit)
		}
	}
}
