// Package namespaces builds small worlds in which the real daemons meet: network namespaces joined by
// veth pairs, real ptp4l grandmasters and real chronyd servers.
//
// The truth of such a world is CLOCK_REALTIME, which every network namespace of a host shares. The
// package never adjusts it: chronyd runs with -x, ptp4l with free_running, both without CAP_SYS_TIME.
//
// A world leaves nothing behind. Run executes the calling program again as the child of an init of its
// own, in namespaces of its own (PID, network, mounts, with a private /run and /tmp), and everything is
// made in there: when that init dies, for whatever reason and by whatever signal, the kernel ends
// every process, network and file of the world with it.
//
//	func TestMain(m *testing.M) { os.Exit(namespaces.Run(5*time.Minute, m.Run)) }
//
//	w, err := namespaces.New(ctx)
//	gm, err := w.AddGrandmaster("gm", namespaces.Grandmaster{})
//	ntp1, err := w.AddNTPServer("ntp1")
//	err = w.Ready(ctx)
//	err = gm.Kill()
//	ntp1.Lie(15 * time.Millisecond)
package namespaces
