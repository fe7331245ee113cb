package vm_test

import (
	"testing"
	"time"

	"clockarbiter/integration/vm"
	"clockarbiter/supervisor"
)

const hardwareA = `
[[ptp.interface]]
name = "enp2s0"
domain = 0
transport = "L2"
timestamping = "hardware"
floor = "100ns"
`

const hardwareB = `
[[ptp.interface]]
name = "enp4s0"
domain = 24
transport = "UDPv4"
timestamping = "hardware"
floor = "100ns"
`

const threeNTP = `
[[ntp.server]]
address = "10.8.0.1"
iburst = true
minpoll = 0
maxpoll = 2

[[ntp.server]]
address = "10.8.0.2"
iburst = true
minpoll = 0
maxpoll = 2

[[ntp.server]]
address = "10.8.0.3"
iburst = true
minpoll = 0
maxpoll = 2
`

// TestHardwarePTP: ptp4l disciplines the PHC, clockarbiter the kernel clock; what the kernel then
// says of its clock is read by another program.
func TestHardwarePTP(t *testing.T) {
	g := vm.Start(t, vm.Virtual)
	w := vm.NewWorld(t, g, vm.WorldOptions{TruthPPB: 25_000, Behind: 10 * time.Millisecond, NTPServers: 3})
	h := vm.Install(t, g, hardwareA+threeNTP)
	w.StartTrace(t, 250*time.Millisecond)
	h.Start(t)
	h.Await(t, "locked to hardware PTP", 90*time.Second, vm.Following("ptp"))
	g.Sleep(t, 30*time.Second)
	t.Log("start: ", w.CollectTrace(t))
	trace := w.Measure(t, time.Minute)
	t.Log("locked:", trace)
	t.Log(g.Run(t, "clockarbiter status"))
	if rms := trace.RMS(); rms > time.Microsecond {
		t.Errorf("RMS of the true error %v, want 1 us at most", rms)
	}
	kernelAgrees(t, g, h.Status(t))
}

func kernelAgrees(t *testing.T, g *vm.Guest, st supervisor.Status) {
	t.Helper()
	k := g.Kernel(t)
	t.Log(k)
	if k["status"]&0x40 != 0 {
		t.Errorf("kernel status %#x has STA_UNSYNC", k["status"])
	}
	if ppb := float64(k["frequency"]) * 1000 / 65536; ppb < st.Clock.FreqPPB-100 || ppb > st.Clock.FreqPPB+100 {
		t.Errorf("kernel frequency %.0f ppb, status says %.0f ppb", ppb, st.Clock.FreqPPB)
	}
}
