package chrony

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

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

// Source is one line of `sources`.
type Source struct {
	Address Address
	// Refclock is set for the reference clock that Feed feeds.
	Refclock bool
	// PollLog2 is the interval in log2 seconds; Stratum is the server's.
	PollLog2 int
	Stratum  uint16
	// Reach has the newest poll in the lowest bit. A poll counts as reached when a valid reply of
	// a synchronised server came.
	Reach uint8
}

// NTPData is what chronyd keeps of the last valid packet of a source, and its counters.
type NTPData struct {
	Leap, Stratum uint8
	// RootDelay and RootDispersion are the packet's: from the server to its reference.
	RootDelay, RootDispersion time.Duration
	RefID                     uint32
	// Tests has a bit per test that the packet passed; see failedTests.
	Tests uint16
	// Sent counts requests, Received all replies, Valid those that passed tests 1 to 5, Good
	// those that became samples.
	Sent, Received, Valid, Good uint32
}

// AuthMode is how packets are authenticated.
type AuthMode uint16

// The modes of authentication.
const (
	AuthNone      AuthMode = 0
	AuthSymmetric AuthMode = 1
	AuthNTS       AuthMode = 2
)

// AuthData is the state of authentication of a source.
type AuthData struct {
	Mode AuthMode
	// KeyID is the number of the symmetric key or of the NTS key establishment.
	KeyID uint32
	// KeyBits is the length of the key; 0 means that there is none: the key is not in the key
	// file, or NTS keys are not established.
	KeyBits uint16
	// Attempts counts key establishments since the last that succeeded, Cookies those in stock.
	Attempts, Cookies uint16
}

// Established reports whether the source has a key to authenticate with.
func (a AuthData) Established() bool { return a.Mode != AuthNone && a.KeyBits > 0 }

// decode parses a reply that checkReply accepted with facebook/time's decoders. The library exports
// them only behind its client, so the client is given a connection that already holds the reply.
func decode[T any](p []byte) (T, error) {
	var none T
	client := fbchrony.Client{Connection: replay{bytes.NewReader(p)}}
	packet, err := client.Communicate(fbchrony.NewTrackingPacket())
	if err != nil {
		return none, err
	}
	reply, ok := packet.(T)
	if !ok {
		return none, fmt.Errorf("reply type %d, want %T", replyType(p), none)
	}
	return reply, nil
}

// replay discards the request and answers with what it was made of.
type replay struct{ *bytes.Reader }

func (replay) Write(p []byte) (int, error) { return len(p), nil }

var _ io.ReadWriter = replay{}

func decodeSource(p []byte) (Source, error) {
	r, err := decode[*fbchrony.ReplySourceData](p)
	if err != nil {
		return Source{}, err
	}
	return Source{Address: decodeAddress(*r.IPAddr), Refclock: r.Mode == fbchrony.SourceModeRef,
		PollLog2: int(r.Poll), Stratum: r.Stratum, Reach: uint8(r.Reachability)}, nil
}

// goodCountAt is where total_good_count stands in both formats of an ntpdata reply. The library
// leaves it out, and takes it for the first of the timestamp counters of chrony 4.6.
const goodCountAt = replyHeadLen + 108

func decodeNTPData(p []byte) (NTPData, error) {
	var d fbchrony.NTPData
	if replyType(p) == fbchrony.RpyNTPData2 {
		r, err := decode[*fbchrony.ReplyNTPData2](p)
		if err != nil {
			return NTPData{}, err
		}
		d = r.NTPData
	} else {
		r, err := decode[*fbchrony.ReplyNTPData](p)
		if err != nil {
			return NTPData{}, err
		}
		d = r.NTPData
	}
	return NTPData{Leap: d.Leap, Stratum: d.Stratum, RefID: d.RefID, Tests: d.Flags & fbchrony.NTPFlagsTests,
		RootDelay: seconds(d.RootDelay), RootDispersion: seconds(d.RootDispersion),
		Sent: d.TotalTXCount, Received: d.TotalRXCount, Valid: d.TotalValidCount,
		Good: binary.BigEndian.Uint32(p[goodCountAt:])}, nil
}

// authDataLen is the length of an authdata reply.
const authDataLen = replyHeadLen + 24

// decodeAuthData decodes RPY_AUTH_DATA, which the library lacks.
func decodeAuthData(p []byte) (AuthData, error) {
	if replyType(p) != replyAuthData {
		return AuthData{}, fmt.Errorf("reply type %d, want %d", replyType(p), replyAuthData)
	}
	if len(p) < authDataLen {
		return AuthData{}, fmt.Errorf("authdata reply has %d bytes, want %d: %w", len(p), authDataLen, io.ErrUnexpectedEOF)
	}
	b := p[replyHeadLen:]
	return AuthData{Mode: AuthMode(binary.BigEndian.Uint16(b)), KeyID: binary.BigEndian.Uint32(b[4:]),
		KeyBits: binary.BigEndian.Uint16(b[8:]), Attempts: binary.BigEndian.Uint16(b[10:]),
		Cookies: binary.BigEndian.Uint16(b[16:])}, nil
}
