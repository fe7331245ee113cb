package ptp

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/facebook/time/hostendian"
	"github.com/facebook/time/ptp/protocol"
)

// TimeProperties is TIME_PROPERTIES_DATA_SET (IEEE 1588-2019, table 86).
type TimeProperties struct {
	protocol.ManagementTLVHead

	CurrentUTCOffset int16 // TAI - UTC in seconds; means something only with flagUTCOffsetValid
	Flags            TimeFlags
	TimeSource       protocol.TimeSource
}

// TimeFlags are the flags of TIME_PROPERTIES_DATA_SET.
type TimeFlags uint8

// The time properties flags.
const (
	flagLeap61 TimeFlags = 1 << iota
	flagLeap59
	flagUTCOffsetValid
	flagPTPTimescale
	flagTimeTraceable
	flagFrequencyTraceable
)

// Has reports whether a flag is set.
func (f TimeFlags) Has(flag TimeFlags) bool { return f&flag != 0 }

// PortDataSet is PORT_DATA_SET (IEEE 1588-2019, table 87).
type PortDataSet struct {
	protocol.ManagementTLVHead

	PortIdentity            protocol.PortIdentity
	PortState               protocol.PortState
	LogMinDelayReqInterval  protocol.LogInterval
	PeerMeanPathDelay       protocol.TimeInterval
	LogAnnounceInterval     protocol.LogInterval
	AnnounceReceiptTimeout  uint8
	LogSyncInterval         protocol.LogInterval
	DelayMechanism          uint8 // 1: E2E, 2: P2P, 0xFE: none
	LogMinPdelayReqInterval protocol.LogInterval
	VersionNumber           uint8
}

// PortProperties is ptp4l's PORT_PROPERTIES_NP.
type PortProperties struct {
	PortIdentity protocol.PortIdentity
	PortState    protocol.PortState
	Timestamping protocol.Timestamping
	Interface    string
}

// dataSet decodes a data set of fixed size, whose struct starts with the TLV's head. More bytes
// than expected are accepted, as later releases append fields.
func dataSet[T any](m Message) (T, error) {
	var v T
	if need := binary.Size(v); len(m.TLV) < need {
		return v, fmt.Errorf("management id 0x%04x: %w: %d bytes of %d", uint16(m.ID), errTruncated, len(m.TLV), need)
	}
	if _, err := binary.Decode(m.TLV, binary.BigEndian, &v); err != nil {
		return v, fmt.Errorf("management id 0x%04x: %w", uint16(m.ID), err)
	}
	return v, nil
}

// portStats decodes PORT_STATS_NP, whose counters alone are in host byte order.
func portStats(m Message) (protocol.PortStats, error) {
	const head = tlvHeadSize + tlvIDSize + portIDSize
	var v protocol.PortStats
	if len(m.TLV) < head+binary.Size(v) {
		return v, fmt.Errorf("PORT_STATS_NP: %w at %d bytes", errTruncated, len(m.TLV))
	}
	_, err := binary.Decode(m.TLV[head:], hostendian.Order, &v)
	return v, err
}

func portProperties(m Message) (PortProperties, error) {
	const head = tlvHeadSize + tlvIDSize
	if len(m.TLV) < head+portIDSize+3 {
		return PortProperties{}, fmt.Errorf("PORT_PROPERTIES_NP: %w at %d bytes", errTruncated, len(m.TLV))
	}
	b := m.TLV[head:]
	name, err := pText(b[portIDSize+2:])
	if err != nil {
		return PortProperties{}, fmt.Errorf("PORT_PROPERTIES_NP: interface %w", err)
	}
	return PortProperties{
		PortIdentity: portIdentity(b),
		PortState:    protocol.PortState(b[portIDSize]),
		Timestamping: protocol.Timestamping(b[portIDSize+1]),
		Interface:    name,
	}, nil
}

// interval converts a TimeInterval.
func interval(t protocol.TimeInterval) time.Duration { return time.Duration(int64(t) >> 16) }
