package scenarios

import (
	"fmt"
	"testing"
	"time"

	"clockarbiter/integration/sim"
)

// asymmetry of every path: NTP alone is off by half of it.
const asymmetry = time.Millisecond

// restarted is a host that has followed PTP for two hours, loses it while its daemon restarts, and has four
// NTP servers for another hour.
func restarted(seed uint64) Scenario {
	s := network(seed, 3*time.Hour, asymmetry, asymmetry, asymmetry, asymmetry)
	at := sim.Duration(2 * time.Hour)
	s.Faults = []sim.Fault{{At: at, Kind: sim.FaultDie, Source: eth0}, {At: at, Kind: sim.FaultKill, Value: 1}}
	return s
}

// TestAFallBackAfterARestartStartsFromTheLearntBiases: with what its predecessor left the host is off by the
// noise of the first samples, without by half of the asymmetry.
func TestAFallBackAfterARestartStartsFromTheLearntBiases(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			worst := func(s Scenario) (all, late float64) {
				r, _, err := s.Run()
				if err != nil {
					t.Fatal(err)
				}
				if last := r.Modes[len(r.Modes)-1]; last.To != "locked" {
					t.Errorf("the run ends %s", last.To)
				}
				from, end := sim.Elapsed(2*time.Hour), sim.Elapsed(3*time.Hour)
				return r.Error.Window(from, end).Max() / 1000, r.Error.Window((from+end)/2, end).Max() / 1000
			}
			raw := restarted(seed)
			raw.Arbiter.ForgetBiases = true
			all, late := worst(restarted(seed))
			_, without := worst(raw)
			t.Logf("largest error in the hour after: %.1f us, in its second half %.1f us; without the biases %.1f us", all, late, without)
			half := float64(asymmetry.Microseconds()) / 2
			if all > 0.4*half || late > 0.1*half || without < 0.9*half {
				t.Errorf("want at most %.0f us, %.0f us, and about %.0f us without", 0.4*half, 0.1*half, half)
			}
		})
	}
}
