// Package vm runs the host under test as a virtual machine of its own: its kernel clock, its PHCs,
// its systemd, its journal. Nothing in it touches the clock of the machine that runs it.
//
// One guest is a whole world. Two pairs of emulated igb ports are joined by ideal wires, 500 ns long.
// One port of each pair lives in a network namespace with a grandmaster, the other belongs to the
// host under test:
//
//	gmA  enp1s0 /dev/ptp0  ──  enp2s0 /dev/ptp1   host    L2, domain 0
//	gmB  enp3s0 /dev/ptp2  ──  enp4s0 /dev/ptp3   host    UDPv4, domain 24
//	gmA  vsrv 10.8.0.1     ──  vntp 10.8.0.2      host    NTP from the truth
//
// The truth is gmA's PHC, which nobody adjusts once the world is made: true UTC is its time less
// 37 s. The NTP servers serve it too (guest/truth).
//
// In virtual time (Virtual) the guest's clocks count its instructions: idle time is skipped, and what
// is measured does not depend on how busy the machine is. The guest then runs only while a script
// does. In real time (Real) it is an ordinary, slow machine that can be reached with ssh.
//
//	g := vm.Start(t, vm.Virtual)
//	w := vm.NewWorld(t, g, vm.WorldOptions{...})
//	h := vm.Install(t, g, configuration)
//	h.Start(t)
//	h.Await(t, "locked", time.Minute)
//	trace := w.Measure(t, time.Minute)
//
// The guest and the patched QEMU are built by integration/vm/setup and kept in a cache: make vm-setup.
package vm
