package chrony

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	fbchrony "github.com/facebook/time/ntp/chrony"
)

// command is a request code of chrony's command protocol, version 6.
type command uint16

// The commands that are used.
const (
	cmdOnline      command = 1
	cmdOffline     command = 2
	cmdBurst       command = 3
	cmdDump        command = 6
	cmdNSources    command = 14
	cmdSourceData  command = 15
	cmdTracking    command = 33
	cmdSourceStats command = 34
	cmdActivity    command = 44
	cmdRefresh     command = 53
	cmdNTPData     command = 57
	cmdSourceName  command = 65
	cmdAuthData    command = 67
	cmdSelectData  command = 69
)

var commandNames = map[command]string{
	cmdOnline: "online", cmdOffline: "offline", cmdBurst: "burst", cmdDump: "dump", cmdNSources: "sources",
	cmdSourceData: "source data", cmdTracking: "tracking", cmdSourceStats: "sourcestats", cmdActivity: "activity",
	cmdRefresh: "refresh", cmdNTPData: "ntpdata", cmdSourceName: "sourcename", cmdAuthData: "authdata",
	cmdSelectData: "selectdata",
}

// String returns chronyc's word for the command.
func (c command) String() string {
	if name, ok := commandNames[c]; ok {
		return name
	}
	return fmt.Sprintf("command %d", uint16(c))
}

// The replies that are decoded here. Those of the library have their numbers there.
const (
	replyNull     fbchrony.ReplyType = 1
	replyAuthData fbchrony.ReplyType = 20
)

// The framing. A request is padded to the longest reply that can come back, because chronyd answers
// nothing that could amplify traffic; replyBuffer is larger than any reply.
const (
	protocolVersion = 6
	packetRequest   = 1
	packetReply     = 2
	requestHeadLen  = 20
	replyHeadLen    = 28
	requestLen      = requestHeadLen + 396
	replyBuffer     = 2048
)

// encodeRequest frames a command. body must be the command's fields in network order.
func encodeRequest(cmd command, sequence uint32, body []byte) []byte {
	p := make([]byte, requestLen)
	p[0], p[1] = protocolVersion, packetRequest
	binary.BigEndian.PutUint16(p[4:], uint16(cmd))
	binary.BigEndian.PutUint32(p[8:], sequence)
	copy(p[requestHeadLen:], body)
	return p
}

// errForeign means that a datagram is no answer to the request at hand: a late answer to an earlier
// one, or none at all. The caller goes on waiting.
var errForeign = errors.New("not a reply to this request")

// checkReply returns nil when p is the answer to the request, errForeign when it answers another
// one or is no reply, and a *StatusError when chronyd refused.
func checkReply(p []byte, cmd command, sequence uint32) error {
	if len(p) < replyHeadLen {
		return fmt.Errorf("%w: %d bytes", errForeign, len(p))
	}
	if p[1] != packetReply || command(binary.BigEndian.Uint16(p[4:])) != cmd || binary.BigEndian.Uint32(p[16:]) != sequence {
		return errForeign
	}
	if p[0] != protocolVersion {
		return fmt.Errorf("chronyd speaks version %d of the command protocol, not %d", p[0], protocolVersion)
	}
	if status := Status(binary.BigEndian.Uint16(p[8:])); status != StatusSuccess {
		return &StatusError{Command: cmd.String(), Status: status}
	}
	return nil
}

// replyType returns the format of a reply that checkReply accepted.
func replyType(p []byte) fbchrony.ReplyType {
	return fbchrony.ReplyType(binary.BigEndian.Uint16(p[6:]))
}

// Status is chronyd's verdict on a command.
type Status uint16

// The statuses on which a caller branches.
const (
	StatusSuccess      Status = 0
	StatusUnauthorised Status = 2
	StatusNoSuchSource Status = 4
)

// String returns chrony's name of the status.
func (s Status) String() string { return fbchrony.ResponseStatusType(s).String() }

// StatusError is a command that chronyd understood and refused.
type StatusError struct {
	Command string
	Status  Status
}

// Error names the command and the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("chronyd answered %s with %s", e.Command, e.Status)
}

// Address is how chronyd names a source: by its IP address or, before its name is resolved, by a
// number. The zero Address stands for all sources where a command takes one.
type Address struct {
	// IP is invalid while the name is not resolved.
	IP netip.Addr
	// ID is chronyd's number of a source that has no address yet.
	ID uint32
}

// Resolved reports whether the source has an IP address.
func (a Address) Resolved() bool { return a.IP.IsValid() }

// String returns the IP address, or the number as chronyc writes it.
func (a Address) String() string {
	if a.Resolved() {
		return a.IP.String()
	}
	return fmt.Sprintf("ID#%010X", a.ID)
}

// The families of an address on the wire.
const (
	familyUnspec = 0
	familyIPv4   = 1
	familyIPv6   = 2
	familyID     = 3
)

// encode returns the 20 bytes of an address.
func (a Address) encode() []byte {
	p := make([]byte, 20)
	switch {
	case a.IP.Is4():
		copy(p, a.IP.AsSlice())
		binary.BigEndian.PutUint16(p[16:], familyIPv4)
	case a.IP.Is6():
		copy(p, a.IP.AsSlice())
		binary.BigEndian.PutUint16(p[16:], familyIPv6)
	case a.ID != 0:
		binary.BigEndian.PutUint32(p, a.ID)
		binary.BigEndian.PutUint16(p[16:], familyID)
	}
	return p
}

// decodeAddress converts the library's address.
func decodeAddress(a fbchrony.IPAddr) Address {
	switch a.Family {
	case familyIPv4:
		return Address{IP: netip.AddrFrom4([4]byte(a.IP[:4]))}
	case familyIPv6:
		return Address{IP: netip.AddrFrom16(a.IP)}
	case familyID:
		return Address{ID: binary.BigEndian.Uint32(a.IP[:4])}
	}
	return Address{}
}
