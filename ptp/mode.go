package ptp

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Mode is where the timestamps come from.
type Mode uint8

// The modes.
const (
	// Software: the kernel's timestamps of the system clock; ptp4l only listens and answers
	// (free_running), the offset is computed here.
	Software Mode = iota + 1
	// Hardware: those of the interface's PHC, which ptp4l disciplines, and which is read to place them on L.
	Hardware
)

// String is the word of the configuration and of ptp4l's time_stamping option.
func (m Mode) String() string {
	switch m {
	case Software:
		return "software"
	case Hardware:
		return "hardware"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ErrIncapable says that the interface cannot do what was asked for, now. Re-probe on a link event.
var ErrIncapable = errors.New("interface cannot time-stamp as configured")

// ChooseMode decides between hardware and software timestamps for one interface. wanted is "auto"
// (or empty), "hardware" or "software". The reason is a sentence for the journal.
func ChooseMode(wanted string, c Capabilities) (mode Mode, reason string, err error) {
	noHardware, noSoftware := c.lacksHardware(), c.lacksSoftware()
	switch wanted {
	case "", "auto":
		if noHardware == "" {
			return Hardware, fmt.Sprintf("%s has hardware timestamps and /dev/ptp%d", c.Interface, c.PHC.Or(-1)), nil
		}
		if noSoftware == "" {
			return Software, fmt.Sprintf("%s has software timestamps only: %s", c.Interface, noHardware), nil
		}
		return 0, "", fmt.Errorf("%w: %s: %s; %s", ErrIncapable, c.Interface, noHardware, noSoftware)
	case "hardware":
		if noHardware != "" {
			return 0, "", fmt.Errorf("%w: %s: timestamping = \"hardware\", but %s; use \"auto\" or \"software\"", ErrIncapable, c.Interface, noHardware)
		}
		return Hardware, "configured", nil
	case "software":
		if noSoftware != "" {
			return 0, "", fmt.Errorf("%w: %s: timestamping = \"software\", but %s", ErrIncapable, c.Interface, noSoftware)
		}
		return Software, "configured", nil
	}
	return 0, "", fmt.Errorf("timestamping = %q: must be \"auto\", \"hardware\" or \"software\"", clip(wanted, 40))
}

// usableFilters are the receive filters with which the device can stamp at least one of the
// transports of PTPv2.
const usableFilters = 1<<unix.HWTSTAMP_FILTER_ALL | 1<<unix.HWTSTAMP_FILTER_SOME |
	1<<unix.HWTSTAMP_FILTER_PTP_V2_EVENT | 1<<unix.HWTSTAMP_FILTER_PTP_V2_L2_EVENT | 1<<unix.HWTSTAMP_FILTER_PTP_V2_L4_EVENT |
	1<<unix.HWTSTAMP_FILTER_PTP_V2_SYNC | 1<<unix.HWTSTAMP_FILTER_PTP_V2_L2_SYNC | 1<<unix.HWTSTAMP_FILTER_PTP_V2_L4_SYNC

// lacksHardware names what is missing for hardware timestamps, or is empty.
func (c Capabilities) lacksHardware() string {
	return missing("hardware", c.HardwareTX, c.HardwareRX, c.RawHardware, []part{
		{c.PHC.Present(), "no PHC"},
		{c.TXTypes&(1<<unix.HWTSTAMP_TX_ON) != 0, "transmit stamping cannot be switched on"},
		{c.RXFilters&usableFilters != 0, "no receive filter for PTPv2"},
	})
}

// lacksSoftware names what is missing for software timestamps, or is empty.
func (c Capabilities) lacksSoftware() string {
	return missing("software", c.SoftwareTX, c.SoftwareRX, c.Software, nil)
}

type part struct {
	present bool
	lack    string
}

func missing(kind string, tx, rx, delivered bool, more []part) string {
	if !tx && !rx {
		return "no " + kind + " timestamps"
	}
	parts := append([]part{
		{tx, "no " + kind + " transmit timestamps"},
		{rx, "no " + kind + " receive timestamps"},
		{delivered, kind + " timestamps are not delivered"},
	}, more...)
	var lacks []string
	for _, p := range parts {
		if !p.present {
			lacks = append(lacks, p.lack)
		}
	}
	return strings.Join(lacks, ", ")
}
