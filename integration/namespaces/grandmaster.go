package namespaces

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Grandmaster is a real ptp4l that serves CLOCK_REALTIME with software timestamps in a node of its own.
type Grandmaster struct {
	world   *World
	node    *node
	options GrandmasterOptions
	process *Process
}

// GrandmasterOptions are what a grandmaster may differ in.
type GrandmasterOptions struct {
	// Domain is the PTP domain number.
	Domain int
	// Transport is UDPv4 (where empty), UDPv6 or L2, in ptp4l's words.
	Transport string
	// DelayMechanism is E2E (where empty) or P2P.
	DelayMechanism string
	// LogSyncInterval and LogAnnounceInterval are log2 of seconds; 0 is one message a second.
	LogSyncInterval, LogAnnounceInterval int
	// ClockClass is advertised as it is, 6 where it is 0 (IEEE 1588-2019, table 4).
	ClockClass int
	// Extra are further lines for the [global] section.
	Extra []string
}

// AddGrandmaster starts a grandmaster that the host reaches through its interface of the same name.
func (w *World) AddGrandmaster(name string, options GrandmasterOptions) (*Grandmaster, error) {
	n, err := w.addNode(name)
	if err != nil {
		return nil, err
	}
	gm := &Grandmaster{world: w, node: n, options: options}
	return gm, gm.Start()
}

// Interface is the host's interface that leads to the grandmaster.
func (gm *Grandmaster) Interface() string { return gm.node.name }

// Kill ends the grandmaster's process as a crash would.
func (gm *Grandmaster) Kill() error { return gm.process.Kill() }

// Start starts the process, for the first time or again.
func (gm *Grandmaster) Start() error {
	ptp4l, err := gm.world.Tool("ptp4l")
	if err != nil {
		return err
	}
	version, err := exec.Command(ptp4l, "-v").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", ptp4l, err)
	}
	file := filepath.Join(gm.node.dir, "ptp4l.conf")
	if err := os.WriteFile(file, []byte(gm.configuration(string(version))), 0o644); err != nil {
		return err
	}
	gm.process, err = gm.world.startOn(gm.node, ptp4l, "-f", file, "-i", nodeInterface, "-m", "-q")
	return err
}

// configuration is ptp4l's. free_running keeps its hands off the clock that it serves.
func (gm *Grandmaster) configuration(version string) string {
	o := gm.options
	lines := []string{
		"[global]",
		"free_running 1",
		"time_stamping software",
		"kernel_leap 0",
		"priority1 10",
		"clockAccuracy 0x21",
		fmt.Sprintf("clockClass %d", cmp.Or(o.ClockClass, 6)),
		fmt.Sprintf("domainNumber %d", o.Domain),
		fmt.Sprintf("logSyncInterval %d", o.LogSyncInterval),
		fmt.Sprintf("logAnnounceInterval %d", o.LogAnnounceInterval),
		"network_transport " + cmp.Or(o.Transport, "UDPv4"),
		"delay_mechanism " + cmp.Or(o.DelayMechanism, "E2E"),
		"uds_address " + filepath.Join(gm.node.dir, "ptp4l"),
	}
	if strings.HasPrefix(version, "3.") {
		lines = append(lines, "masterOnly 1")
	} else {
		lines = append(lines, "serverOnly 1", "uds_ro_address "+filepath.Join(gm.node.dir, "ptp4lro"))
	}
	return strings.Join(append(lines, o.Extra...), "\n") + "\n"
}
