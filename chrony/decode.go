package chrony

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	fbchrony "github.com/facebook/time/ntp/chrony"
)

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
	// Latest is the offset of the newest sample in s, local - source: it tells that there is a new one.
	Latest float64
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
		PollLog2: int(r.Poll), Stratum: r.Stratum, Reach: uint8(r.Reachability), Latest: r.OrigLatestMeas}, nil
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
