package ptp

import (
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"clockarbiter/sources"
)

// Capabilities is what a network interface can do for PTP, as the kernel says it
// (ETHTOOL_GET_TS_INFO).
type Capabilities struct {
	Interface string
	// HardwareTX, HardwareRX: the device stamps packets with its PHC; RawHardware: the kernel hands
	// these stamps to user space.
	HardwareTX, HardwareRX, RawHardware bool
	// SoftwareTX, SoftwareRX: the kernel stamps packets with the system clock; Software: it hands
	// these stamps to user space.
	SoftwareTX, SoftwareRX, Software bool
	// PHC is the index n of /dev/ptpN that belongs to this interface, absent where there is none.
	PHC sources.Optional[int]
	// TXTypes and RXFilters are the bit masks of HWTSTAMP_TX_* and HWTSTAMP_FILTER_*.
	TXTypes, RXFilters uint32
}

// Probe asks the kernel what the interface can do. It needs no privilege. The answer can change:
// some drivers have a PHC only while the link is up.
func Probe(iface string) (Capabilities, error) {
	if _, err := net.InterfaceByName(iface); err != nil {
		return Capabilities{}, fmt.Errorf("probe interface %q: %w", iface, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Capabilities{}, fmt.Errorf("probe interface %q: socket: %w", iface, err)
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolTsInfo(fd, iface)
	if err != nil {
		return Capabilities{}, fmt.Errorf("probe interface %q: ETHTOOL_GET_TS_INFO: %w", iface, err)
	}
	return fromTSInfo(iface, info), nil
}

func fromTSInfo(iface string, info *unix.EthtoolTsInfo) Capabilities {
	has := func(flag uint32) bool { return info.So_timestamping&flag != 0 }
	c := Capabilities{
		Interface:   iface,
		HardwareTX:  has(unix.SOF_TIMESTAMPING_TX_HARDWARE),
		HardwareRX:  has(unix.SOF_TIMESTAMPING_RX_HARDWARE),
		RawHardware: has(unix.SOF_TIMESTAMPING_RAW_HARDWARE),
		SoftwareTX:  has(unix.SOF_TIMESTAMPING_TX_SOFTWARE),
		SoftwareRX:  has(unix.SOF_TIMESTAMPING_RX_SOFTWARE),
		Software:    has(unix.SOF_TIMESTAMPING_SOFTWARE),
		TXTypes:     info.Tx_types,
		RXFilters:   info.Rx_filters,
	}
	if info.Phc_index >= 0 {
		c.PHC = sources.Some(int(info.Phc_index))
	}
	return c
}

// rxFilterNames are the receive filters in the words of `ethtool -T`, by bit number.
var rxFilterNames = [...]string{
	unix.HWTSTAMP_FILTER_NONE:                "none",
	unix.HWTSTAMP_FILTER_ALL:                 "all",
	unix.HWTSTAMP_FILTER_SOME:                "some",
	unix.HWTSTAMP_FILTER_PTP_V1_L4_EVENT:     "ptpv1-l4-event",
	unix.HWTSTAMP_FILTER_PTP_V1_L4_SYNC:      "ptpv1-l4-sync",
	unix.HWTSTAMP_FILTER_PTP_V1_L4_DELAY_REQ: "ptpv1-l4-delay-req",
	unix.HWTSTAMP_FILTER_PTP_V2_L4_EVENT:     "ptpv2-l4-event",
	unix.HWTSTAMP_FILTER_PTP_V2_L4_SYNC:      "ptpv2-l4-sync",
	unix.HWTSTAMP_FILTER_PTP_V2_L4_DELAY_REQ: "ptpv2-l4-delay-req",
	unix.HWTSTAMP_FILTER_PTP_V2_L2_EVENT:     "ptpv2-l2-event",
	unix.HWTSTAMP_FILTER_PTP_V2_L2_SYNC:      "ptpv2-l2-sync",
	unix.HWTSTAMP_FILTER_PTP_V2_L2_DELAY_REQ: "ptpv2-l2-delay-req",
	unix.HWTSTAMP_FILTER_PTP_V2_EVENT:        "ptpv2-event",
	unix.HWTSTAMP_FILTER_PTP_V2_SYNC:         "ptpv2-sync",
	unix.HWTSTAMP_FILTER_PTP_V2_DELAY_REQ:    "ptpv2-delay-req",
	unix.HWTSTAMP_FILTER_NTP_ALL:             "ntp-all",
}

// String says the capabilities on one line, in the words of `ethtool -T`.
func (c Capabilities) String() string {
	words := []string{}
	for _, f := range []struct {
		on   bool
		name string
	}{
		{c.HardwareTX, "hardware-transmit"},
		{c.HardwareRX, "hardware-receive"},
		{c.RawHardware, "hardware-raw-clock"},
		{c.SoftwareTX, "software-transmit"},
		{c.SoftwareRX, "software-receive"},
		{c.Software, "software-system-clock"},
	} {
		if f.on {
			words = append(words, f.name)
		}
	}
	if len(words) == 0 {
		words = append(words, "no time stamping")
	}
	phc := "none"
	if n, ok := c.PHC.Get(); ok {
		phc = fmt.Sprintf("/dev/ptp%d", n)
	}
	return fmt.Sprintf("%s: %s; PHC %s; receive filters %s",
		c.Interface, strings.Join(words, " "), phc, strings.Join(c.filters(), " "))
}

func (c Capabilities) filters() []string {
	var names []string
	for bit, name := range rxFilterNames {
		if c.RXFilters&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return []string{"none"}
	}
	return names
}
