package ptp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/facebook/time/ptp/protocol"
)

// The management identifiers that are polled (IEEE 1588-2019, table 59; those in NP are ptp4l's).
const (
	idDefaultDataSet        = protocol.IDDefaultDataSet
	idCurrentDataSet        = protocol.IDCurrentDataSet
	idParentDataSet         = protocol.IDParentDataSet
	idTimePropertiesDataSet = protocol.IDTimePropertiesDataSet
	idPortDataSet           = protocol.IDPortDataSet
	idTimeStatusNP          = protocol.IDTimeStatusNP
	idPortPropertiesNP      = protocol.IDPortPropertiesNP
	idPortStatsNP           = protocol.IDPortStatsNP
	idSubscribeEventsNP     = protocol.ManagementID(0xC003)
)

// Offsets in a management message (IEEE 1588-2019, tables 35, 56 and 58).
const (
	headerSize     = 34
	managementSize = headerSize + 14
	tlvHeadSize    = 4
	tlvIDSize      = 2

	offLength    = 2
	offDomain    = 4
	offSource    = 20
	offSequence  = 30
	offControl   = 32
	offInterval  = 33
	offTarget    = 34
	offAction    = 46
	portIDSize   = 10
	controlMgmt  = 4
	anyClock     = protocol.ClockIdentity(0xffffffffffffffff)
	messageMajor = 2
)

// errTruncated marks a datagram that ends before what it announces.
var errTruncated = errors.New("truncated")

// Message is one management message with one management TLV.
type Message struct {
	Source   protocol.PortIdentity
	Target   protocol.PortIdentity
	Domain   uint8
	Sequence uint16
	Action   protocol.Action
	ID       protocol.ManagementID
	// TLV is the whole TLV including its type, length and identifier.
	TLV []byte
}

// StatusError is a MANAGEMENT_ERROR_STATUS TLV: the engine understood the request and refused it.
type StatusError struct {
	ID   protocol.ManagementID
	Code protocol.ManagementErrorID
	Text string
}

// Error names the refusal and the data set.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("refused management id 0x%04x: %v", uint16(e.ID), e.Code)
	if e.Text != "" {
		s += fmt.Sprintf(" (%q)", e.Text)
	}
	return s
}

// Unwrap lets errors.Is compare with protocol.ErrorNotSupported and its like.
func (e *StatusError) Unwrap() error { return e.Code }

// encodeRequest builds a request for one management TLV. boundaryHops is 0: it never leaves this
// host (pmc's default of 1 has ptp4l forward it to the network).
func encodeRequest(action protocol.Action, target protocol.PortIdentity, domain uint8, sequence uint16, id protocol.ManagementID, data []byte) []byte {
	b := make([]byte, managementSize+tlvHeadSize+tlvIDSize, managementSize+tlvHeadSize+tlvIDSize+len(data))
	b = append(b, data...)
	be := binary.BigEndian
	b[0] = byte(protocol.MessageManagement)
	b[1] = messageMajor
	be.PutUint16(b[offLength:], uint16(len(b)))
	b[offDomain] = domain
	be.PutUint16(b[offSequence:], sequence)
	b[offControl] = controlMgmt
	b[offInterval] = byte(protocol.MgmtLogMessageInterval)
	putPortIdentity(b[offTarget:], target)
	b[offAction] = byte(action)
	be.PutUint16(b[managementSize:], uint16(protocol.TLVManagement))
	be.PutUint16(b[managementSize+2:], uint16(tlvIDSize+len(data)))
	be.PutUint16(b[managementSize+tlvHeadSize:], uint16(id))
	return b
}

// The events of SUBSCRIBE_EVENTS_NP, by bit number; 3.1 knows the first two only.
const (
	notifyPortState     = 0
	notifyParentDataSet = 2
)

// subscription is the data of SUBSCRIBE_EVENTS_NP: seconds, then 512 event bits.
func subscription(d time.Duration) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(d/time.Second))
	return append(append(b, 1<<notifyPortState|1<<notifyParentDataSet), make([]byte, 63)...)
}

// parseManagement reads one datagram. A message that was understood as far as its header is
// returned together with the error, so that the error reaches whoever waits for that sequence.
func parseManagement(b []byte) (Message, error) {
	var m Message
	if len(b) < headerSize {
		return m, fmt.Errorf("management message: %w at %d bytes, header has %d", errTruncated, len(b), headerSize)
	}
	be := binary.BigEndian
	if kind := protocol.MessageType(b[0] & 0x0f); kind != protocol.MessageManagement {
		return m, fmt.Errorf("message type %v is not management", kind)
	}
	if b[1]&0x0f != messageMajor {
		return m, fmt.Errorf("management message: PTP version %d is not %d", b[1]&0x0f, messageMajor)
	}
	m.Domain = b[offDomain]
	m.Source = portIdentity(b[offSource:])
	m.Sequence = be.Uint16(b[offSequence:])
	length := int(be.Uint16(b[offLength:]))
	if length > len(b) || length < managementSize+tlvHeadSize+tlvIDSize {
		return m, fmt.Errorf("management message: %w: %d bytes, length field says %d", errTruncated, len(b), length)
	}
	m.Target = portIdentity(b[offTarget:])
	m.Action = protocol.Action(b[offAction] & 0x0f)
	return m, m.parseTLV(b[managementSize:length])
}

func (m *Message) parseTLV(b []byte) error {
	be := binary.BigEndian
	kind, length := protocol.TLVType(be.Uint16(b)), int(be.Uint16(b[2:]))
	if length < tlvIDSize || tlvHeadSize+length > len(b) {
		return fmt.Errorf("management TLV: %w: %d bytes, length field says %d", errTruncated, len(b)-tlvHeadSize, length)
	}
	b = b[:tlvHeadSize+length]
	switch kind {
	case protocol.TLVManagement:
		m.ID = protocol.ManagementID(be.Uint16(b[tlvHeadSize:]))
		m.TLV = b
		return nil
	case protocol.TLVManagementErrorStatus:
		return m.parseStatus(b[tlvHeadSize:])
	}
	return fmt.Errorf("TLV type 0x%04x is not a management TLV", uint16(kind))
}

// parseStatus reads the value of a MANAGEMENT_ERROR_STATUS TLV (IEEE 1588-2019, table 108): error,
// identifier, 4 reserved bytes, optional text.
func (m *Message) parseStatus(b []byte) error {
	if len(b) < 8 {
		return fmt.Errorf("management error status: %w at %d bytes", errTruncated, len(b))
	}
	be := binary.BigEndian
	m.ID = protocol.ManagementID(be.Uint16(b[2:]))
	status := &StatusError{ID: m.ID, Code: protocol.ManagementErrorID(be.Uint16(b))}
	if len(b) > 8 {
		text, err := pText(b[8:])
		if err != nil {
			return fmt.Errorf("management error status: %w", err)
		}
		status.Text = text
	}
	return status
}

// pText reads a PTPText: one byte of length, then UTF-8 (IEEE 1588-2019, 5.3.9).
func pText(b []byte) (string, error) {
	if len(b) == 0 || 1+int(b[0]) > len(b) {
		return "", fmt.Errorf("text: %w at %d bytes", errTruncated, len(b))
	}
	return strings.ToValidUTF8(string(b[1:1+int(b[0])]), "?"), nil
}

func portIdentity(b []byte) protocol.PortIdentity {
	return protocol.PortIdentity{
		ClockIdentity: protocol.ClockIdentity(binary.BigEndian.Uint64(b)),
		PortNumber:    binary.BigEndian.Uint16(b[8:]),
	}
}

func putPortIdentity(b []byte, p protocol.PortIdentity) {
	binary.BigEndian.PutUint64(b, uint64(p.ClockIdentity))
	binary.BigEndian.PutUint16(b[8:], p.PortNumber)
}
