package namespaces

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	ntp "github.com/facebook/time/ntp/protocol"
)

// ntpAnswer is what one exchange with a server showed.
type ntpAnswer struct {
	// offset is server - CLOCK_REALTIME: positive when the server is ahead.
	offset  time.Duration
	stratum uint8
}

// ntpTimeout is how long one exchange may take.
const ntpTimeout = 500 * time.Millisecond

// queryNTP asks the server once (RFC 5905, section 8) and measures with user-space timestamps: good to
// a fraction of a millisecond.
func queryNTP(ctx context.Context, server netip.Addr) (ntpAnswer, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "udp", netip.AddrPortFrom(server, 123).String())
	if err != nil {
		return ntpAnswer{}, err
	}
	defer func() { _ = conn.Close() }() // Nothing is lost with a query's socket.
	sent := time.Now()
	if err := conn.SetDeadline(sent.Add(ntpTimeout)); err != nil {
		return ntpAnswer{}, err
	}
	// Version 4, mode 3 (client).
	request := ntp.Packet{Settings: 0x23}
	request.TxTimeSec, request.TxTimeFrac = ntp.Time(sent)
	question, err := request.Bytes()
	if err != nil {
		return ntpAnswer{}, err
	}
	if _, err := conn.Write(question); err != nil {
		return ntpAnswer{}, fmt.Errorf("ask %v: %w", server, err)
	}
	buf := make([]byte, ntp.PacketSizeBytes)
	n, err := conn.Read(buf)
	received := time.Now()
	if err != nil {
		return ntpAnswer{}, fmt.Errorf("hear %v: %w", server, err)
	}
	var reply ntp.Packet
	if err := reply.UnmarshalBinary(buf[:n]); err != nil {
		return ntpAnswer{}, fmt.Errorf("decode answer of %v: %w", server, err)
	}
	arrived := ntp.Unix(reply.RxTimeSec, reply.RxTimeFrac)
	answered := ntp.Unix(reply.TxTimeSec, reply.TxTimeFrac)
	return ntpAnswer{
		offset:  (arrived.Sub(sent) + answered.Sub(received)) / 2,
		stratum: reply.Stratum,
	}, nil
}
