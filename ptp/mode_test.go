package ptp

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/sources"
)

const (
	hardwareFlags = unix.SOF_TIMESTAMPING_TX_HARDWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE
	softwareFlags = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
)

func nic(flags uint32, phc int32) Capabilities {
	return fromTSInfo("eth0", &unix.EthtoolTsInfo{
		So_timestamping: flags, Phc_index: phc, Tx_types: 1 << unix.HWTSTAMP_TX_ON,
		Rx_filters: 1<<unix.HWTSTAMP_FILTER_NONE | 1<<unix.HWTSTAMP_FILTER_ALL,
	})
}

func TestChooseMode(t *testing.T) {
	noFilter := nic(hardwareFlags, 0)
	noFilter.RXFilters = 1 << unix.HWTSTAMP_FILTER_PTP_V1_L4_EVENT
	for _, c := range []struct {
		name, wanted string
		Capabilities
		mode Mode
		says string // of the reason, or of the error where mode is 0
	}{
		{"auto prefers hardware", "auto", nic(hardwareFlags|softwareFlags, 3), Hardware, "/dev/ptp3"},
		{"auto without a PHC is software", "auto", nic(hardwareFlags|softwareFlags, -1), Software, "no PHC"},
		{"auto (by default) without hardware is software", "", nic(softwareFlags, -1), Software, "no hardware timestamps"},
		{"auto with nothing is an error", "auto", nic(0, -1), 0, "no software timestamps"},
		{"hardware that is there", "hardware", nic(hardwareFlags, 0), Hardware, "configured"},
		{"hardware that is absent is an error", "hardware", nic(softwareFlags, -1), 0, "no hardware timestamps"},
		{"hardware that cannot stamp PTPv2 is an error", "hardware", noFilter, 0, "no receive filter"},
		{"software may be forced", "software", nic(hardwareFlags|softwareFlags, 0), Software, "configured"},
		{"software without transmit stamps is an error", "software", nic(unix.SOF_TIMESTAMPING_RX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE, -1), 0, "no software transmit"},
		{"a word that is none", "fast", nic(hardwareFlags, 0), 0, "must be"},
	} {
		mode, reason, err := ChooseMode(c.wanted, c.Capabilities)
		if err != nil {
			reason = err.Error()
		}
		if mode != c.mode || (err != nil) != (c.mode == 0) || !strings.Contains(reason, c.says) {
			t.Errorf("%s: %v, %q", c.name, mode, reason)
		}
		if err != nil && c.wanted != "fast" && !errors.Is(err, ErrIncapable) {
			t.Errorf("%s: %v is not ErrIncapable", c.name, err)
		}
	}
}

func TestCapabilitiesInWords(t *testing.T) {
	got := []string{nic(hardwareFlags|softwareFlags, 2).String(), nic(0, -1).String()}
	want := []string{
		"eth0: hardware-transmit hardware-receive hardware-raw-clock software-transmit software-receive software-system-clock; PHC /dev/ptp2; receive filters none all",
		"eth0: no time stamping; PHC none; receive filters none all",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGroup(t *testing.T) {
	s := Settings{Transport: "UDPv4", DelayMechanism: "E2E"}
	d24 := Settings{Transport: "UDPv4", DelayMechanism: "E2E", Domain: 24}
	hw := func(name string, phc int, s Settings) Port {
		return Port{Interface: name, Mode: Hardware, PHC: sources.Some(phc), Settings: s}
	}
	sw := func(name string, s Settings) Port { return Port{Interface: name, Mode: Software, Settings: s} }
	for _, c := range []struct {
		name  string
		ports []Port
		want  string // engines as name(interfaces), or the error
	}{
		{"ports on one PHC share an engine", []Port{hw("a", 0, s), hw("b", 0, s), hw("c", 1, s)}, "a-0(a b) c-0(c)"},
		{"software ports never share", []Port{sw("a", s), sw("b", s)}, "a-0(a) b-0(b)"},
		{"a software port does not join the PHC it has", []Port{hw("a", 0, s), {Interface: "b", Mode: Software, PHC: sources.Some(0), Settings: s}}, "a-0(a) b-0(b)"},
		{"one interface in two domains with software stamps", []Port{sw("a", s), sw("a", d24)}, "a-0(a) a-24(a)"},
		{"one PHC cannot follow two domains", []Port{hw("a", 0, s), hw("b", 0, d24)}, "share /dev/ptp0"},
		{"an interface twice", []Port{sw("a", s), sw("a", s)}, "configured twice"},
		{"nothing", nil, ""},
	} {
		engines, err := Group(c.ports)
		var parts []string
		for _, e := range engines {
			parts = append(parts, e.Name+"("+strings.Join(e.Interfaces, " ")+")")
		}
		got := strings.Join(parts, " ")
		if err != nil {
			got = err.Error()
		}
		if (err == nil && got != c.want) || (err != nil && (c.want == "" || !strings.Contains(got, c.want))) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
