// Package ptp runs linuxptp's ptp4l as a measuring engine: it probes what an interface can do,
// renders ptp4l's configuration, reads its management socket, its slave event monitor and the PHC,
// and hands over samples and reports of package sources.
//
// It never adjusts a clock: with software timestamps ptp4l runs with free_running, with hardware
// timestamps ptp4l alone disciplines the PHC, and the child has no CAP_SYS_TIME either way. It
// starts no process except `ptp4l -v`, does not supervise the engine and does not judge sources.
//
// The pipeline, one file per stage:
//
//	probe.go, mode.go        interface -> Capabilities -> Mode
//	group.go, render.go      configuration -> engines -> ptp4l.conf, argv, capabilities (pure)
//	codec.go, datasets.go    management frames and data sets <-> values (pure)
//	client.go, poll.go       requests over ptp4l's Unix socket -> Snapshot
//	records.go, events.go    slave event monitor datagrams -> timestamps t1..t4
//	rate.go, exchange.go     timestamps -> rate ratio, delay, offset to L (pure)
//	phc.go, track.go         readings of the PHC; hardware timestamps -> instants of L (track pure)
//	quality.go               Snapshot -> Condition, Quality, UTC (pure)
//	monitor.go               all of it -> sources.Update
//
// One sign everywhere: offset = source - local; positive means that L is slow. PTP's
// offsetFromMaster and ptp4l's master_offset have the other sign.
package ptp
