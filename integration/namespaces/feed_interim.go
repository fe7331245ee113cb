package namespaces

import (
	"encoding/binary"
	"net"
	"time"
)

func (s *NTPServer) feed(p *Process) {
	for {
		select {
		case <-p.Done():
			return
		case <-time.After(time.Second / 16):
		}
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.feedPath(), Net: "unixgram"})
		if err != nil {
			continue
		}
		now := time.Now()
		b := binary.NativeEndian.AppendUint64(nil, uint64(now.Unix()))
		b = binary.NativeEndian.AppendUint64(b, uint64(now.Nanosecond()/1000))
		x := struct {
			O          float64
			A, B, C, M int32
		}{O: time.Duration(s.lie.Load()).Seconds(), M: 0x534f434b}
		b, _ = binary.Append(b, binary.NativeEndian, x)
		conn.Write(b)
		conn.Close()
	}
}
