package vm_test

import (
	"testing"
	"time"

	"clockarbiter/integration/vm"
)

// TestGuest: the guest's clocks are what the other tests believe of them.
func TestGuest(t *testing.T) {
	g := vm.Start(t, vm.Virtual)
	w := vm.NewWorld(t, g, vm.WorldOptions{TruthPPB: 25_000, Behind: 10 * time.Millisecond, NTPServers: 1})
	trace := w.Measure(t, 20*time.Second)
	t.Log(trace)
	drift := trace[len(trace)-1].Error - trace[0].Error
	// The kernel knows its TSC's rate to a part per million or two.
	if want := 25 * 19 * time.Microsecond; (drift - want).Abs() > 40*time.Microsecond {
		t.Errorf("the truth gained %v on a free system clock in 19 s, want %v", drift, want)
	}
}
