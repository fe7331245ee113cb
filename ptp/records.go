package ptp

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/facebook/time/ptp/protocol"
)

// The TLVs of ptp4l's slave event monitor. SLAVE_RX_SYNC_TIMING_DATA is IEEE 1588-2019, 16.11.4.1;
// the delay TLV has ptp4l's experimental number, because the standard's lacks t3 and t4 of E2E.
const (
	tlvSyncTiming  = 0x8004
	tlvDelayTiming = 0x7F00
)

const (
	signalingSize     = headerSize + portIDSize
	timestampSize     = 10
	syncRecordSize    = 2 + timestampSize + 8 + 4 + timestampSize
	delayRecordSize   = 2 + timestampSize + 8 + timestampSize
	maxSeconds        = math.MaxInt64/1_000_000_000 - 1
	correctionPerNano = 1 << 16
	maxCorrectionNS   = 1_000_000_000
)

// SyncRecord is one received Sync with its follow-up, as ptp4l reports it.
type SyncRecord struct {
	Parent   protocol.PortIdentity // the master's port that sent it
	Sequence uint16
	// T1 is when the Sync left the master, on the master's timescale, in nanoseconds since its
	// epoch, with the correction fields added.
	T1 int64
	// T2 is when it arrived, on CLOCK_REALTIME.
	T2 int64
}

// DelayRecord is one end-to-end delay request with its response.
type DelayRecord struct {
	Parent   protocol.PortIdentity
	Sequence uint16
	// T3 is when the request left, on CLOCK_REALTIME.
	T3 int64
	// T4 is when it reached the master, on the master's timescale, with the correction subtracted.
	T4 int64
}

// Records are the contents of one datagram of the slave event monitor, in the order of sending.
type Records struct {
	Syncs  []SyncRecord
	Delays []DelayRecord
}

// parseRecords reads one signalling message. Unknown TLVs are skipped; a record that is cut short
// or out of range fails the whole datagram.
func parseRecords(b []byte) (Records, error) {
	var r Records
	if len(b) < signalingSize {
		return r, fmt.Errorf("event record: %w at %d bytes", errTruncated, len(b))
	}
	if kind := protocol.MessageType(b[0] & 0x0f); kind != protocol.MessageSignaling {
		return r, fmt.Errorf("event record: message type %v is not signaling", kind)
	}
	length := int(binary.BigEndian.Uint16(b[offLength:]))
	if length < signalingSize || length > len(b) {
		return r, fmt.Errorf("event record: %w: %d bytes, length field says %d", errTruncated, len(b), length)
	}
	for b = b[signalingSize:length]; len(b) > 0; {
		if len(b) < tlvHeadSize {
			return Records{}, fmt.Errorf("event record TLV: %w", errTruncated)
		}
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if tlvHeadSize+size > len(b) {
			return Records{}, fmt.Errorf("event record TLV 0x%04x: %w", kind, errTruncated)
		}
		if err := r.add(kind, b[tlvHeadSize:tlvHeadSize+size]); err != nil {
			return Records{}, err
		}
		b = b[tlvHeadSize+size:]
	}
	return r, nil
}

func (r *Records) add(kind uint16, value []byte) error {
	size := map[uint16]int{tlvSyncTiming: syncRecordSize, tlvDelayTiming: delayRecordSize}[kind]
	if size == 0 {
		return nil
	}
	if len(value) < portIDSize || (len(value)-portIDSize)%size != 0 {
		return fmt.Errorf("event record TLV 0x%04x: %d bytes are no whole number of records: %w", kind, len(value), errTruncated)
	}
	parent := portIdentity(value)
	for value = value[portIDSize:]; len(value) > 0; value = value[size:] {
		if err := r.addRecord(kind, parent, value[:size]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Records) addRecord(kind uint16, parent protocol.PortIdentity, b []byte) error {
	sequence := binary.BigEndian.Uint16(b)
	first, err := timestampNS(b[2:])
	if err != nil {
		return err
	}
	second, err := timestampNS(b[len(b)-timestampSize:])
	if err != nil {
		return err
	}
	correction, err := correctionNS(b[2+timestampSize:])
	if err != nil {
		return err
	}
	if kind == tlvSyncTiming {
		r.Syncs = append(r.Syncs, SyncRecord{Parent: parent, Sequence: sequence, T1: first + correction, T2: second})
	} else {
		r.Delays = append(r.Delays, DelayRecord{Parent: parent, Sequence: sequence, T3: first, T4: second - correction})
	}
	return nil
}

// timestampNS reads a PTP Timestamp: 48 bits of seconds, 32 bits of nanoseconds (5.3.3).
func timestampNS(b []byte) (int64, error) {
	seconds := int64(binary.BigEndian.Uint16(b))<<32 | int64(binary.BigEndian.Uint32(b[2:]))
	nanos := binary.BigEndian.Uint32(b[6:])
	if seconds > maxSeconds-1 || nanos >= 1_000_000_000 {
		return 0, fmt.Errorf("event record: timestamp %d.%09d is out of range", seconds, nanos)
	}
	return seconds*1_000_000_000 + int64(nanos), nil
}

// correctionNS reads a TimeInterval in units of 2^-16 ns (5.3.2) and rounds it to nanoseconds.
// Residence and link delays over a second are no correction but an error of a device.
func correctionNS(b []byte) (int64, error) {
	raw := int64(binary.BigEndian.Uint64(b))
	ns := raw >> 16
	if raw&(correctionPerNano-1) >= correctionPerNano/2 {
		ns++
	}
	if ns > maxCorrectionNS || ns < -maxCorrectionNS {
		return 0, fmt.Errorf("event record: correction of %d ns is out of range", ns)
	}
	return ns, nil
}
