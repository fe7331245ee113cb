// Command truth is an NTP server of the test guest whose time is a PHC's, not the system clock's: it
// goes on telling the truth while the daemon under test steers, steps or ruins the system clock that
// both of them share.
//
// The kernel stamps a request with CLOCK_REALTIME. A reading of the PHC against CLOCK_REALTIME, made
// right after, moves that stamp to the PHC's timescale; only what the system clock does in the tenth
// of a millisecond between can leak in.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/integration/vm/guest/leap"
)

func main() {
	var s server
	var device, address string
	flag.StringVar(&device, "phc", "/dev/ptp0", "the PHC that has the true time, TAI")
	flag.StringVar(&address, "address", "10.8.0.1", "IPv4 address to serve on, port 123")
	s.utc.Flags()
	flag.DurationVar(&s.lie, "lie", 0, "added to the time that is served")
	flag.IntVar(&s.stratum, "stratum", 1, "stratum that is served")
	flag.Parse()
	if err := s.open(device, address); err != nil {
		fmt.Fprintln(os.Stderr, "truth:", err)
		os.Exit(1)
	}
	for {
		if err := s.answer(); err != nil {
			fmt.Fprintln(os.Stderr, "truth:", err)
			time.Sleep(time.Millisecond) // an unreachable client must not make it spin
		}
	}
}

type server struct {
	utc     leap.Scale
	lie     time.Duration
	stratum int

	phc       int
	socket    int
	latencies []int64 // the last times from reading the clock to the wire, ns
}

// latencyMemory transmissions give the median by which the transmit timestamp is set ahead.
const latencyMemory = 15

func (s *server) open(device, address string) (err error) {
	if s.phc, err = unix.Open(device, unix.O_RDONLY, 0); err != nil {
		return fmt.Errorf("open %s: %w", device, err)
	}
	if s.socket, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); err != nil {
		return fmt.Errorf("make socket: %w", err)
	}
	const stamps = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE |
		unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_TSONLY
	if err := unix.SetsockoptInt(s.socket, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamps); err != nil {
		return fmt.Errorf("SO_TIMESTAMPING: %w", err)
	}
	ip := net.ParseIP(address).To4()
	if ip == nil {
		return fmt.Errorf("%q is not an IPv4 address", address)
	}
	if err := unix.Bind(s.socket, &unix.SockaddrInet4{Port: 123, Addr: [4]byte(ip)}); err != nil {
		return fmt.Errorf("bind %s: %w", address, err)
	}
	return nil
}

const (
	packetSize = 48
	modeClient = 3
	modeServer = 4
)

// answer waits for one request and answers it (RFC 5905, figure 8).
func (s *server) answer() error {
	request, control := make([]byte, 1024), make([]byte, 256)
	n, cn, _, from, err := unix.Recvmsg(s.socket, request, control, 0)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	received, ok := stamp(control[:cn])
	if n < packetSize || request[0]&7 != modeClient || !ok {
		return nil
	}
	toTrue, indicator, err := s.trueMinusSystem()
	if err != nil {
		return err
	}
	reply := make([]byte, packetSize)
	reply[0] = byte(indicator<<6) | request[0]&0x38 | modeServer
	reply[1], reply[2] = byte(s.stratum), request[2]
	reply[3] = 0xe7                              // precision 2^-25 s
	binary.BigEndian.PutUint32(reply[8:], 1)     // root dispersion 2^-16 s
	copy(reply[12:16], "PHC0")                   // reference identifier
	copy(reply[24:32], request[40:48])           // origin timestamp
	put(reply[16:], received+toTrue-500_000_000) // reference timestamp
	put(reply[32:], received+toTrue)             // receive timestamp
	now := time.Now().UnixNano()
	put(reply[40:], now+toTrue+s.latency()) // transmit timestamp
	if err := unix.Sendto(s.socket, reply, 0, from); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	s.learnLatency(now)
	return nil
}

// trueMinusSystem is what is added to CLOCK_REALTIME to get the UTC that is served, in nanoseconds, and the leap
// indicator that goes with it.
func (s *server) trueMinusSystem() (toTrue int64, indicator int, err error) {
	const readings = 5
	o, err := unix.IoctlPtpSysOffsetExtended(s.phc, readings)
	if err != nil {
		return 0, 0, fmt.Errorf("read PHC: %w", err)
	}
	var tai int64
	width := int64(1) << 62
	for _, t := range o.Ts[:min(int(o.Samples), readings)] {
		before, after := ns(t[0]), ns(t[2])
		if w := after - before; w >= 0 && w < width {
			width, tai, toTrue = w, ns(t[1]), ns(t[1])-before-w/2
		}
	}
	return toTrue - s.utc.Offset(tai) + int64(s.lie), s.utc.Indicator(tai), nil
}

// latency is the median of what the last transmissions took to the wire.
func (s *server) latency() int64 {
	if len(s.latencies) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.latencies))
	return sorted[len(sorted)/2]
}

// learnLatency takes the kernel's transmit stamps from the error queue.
func (s *server) learnLatency(sent int64) {
	const longest = int64(2 * time.Millisecond)
	data, control := make([]byte, 256), make([]byte, 256)
	for {
		_, cn, _, _, err := unix.Recvmsg(s.socket, data, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return // EAGAIN: no stamp any more, and nothing else matters here
		}
		if t, ok := stamp(control[:cn]); ok && t > sent && t-sent < longest {
			s.latencies = append(s.latencies, t-sent)
			s.latencies = s.latencies[max(0, len(s.latencies)-latencyMemory):]
		}
	}
}

// stamp finds a software timestamp in control messages, in nanoseconds since 1970.
func stamp(control []byte) (int64, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPING && len(m.Data) >= 16 {
			t := int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
			return t, t != 0
		}
	}
	return 0, false
}

func ns(t unix.PtpClockTime) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// put writes an NTP timestamp of nanoseconds since 1970 (RFC 5905, section 6).
func put(b []byte, ns int64) {
	const from1900 = 2_208_988_800
	seconds, rest := ns/1e9, ns%1e9
	binary.BigEndian.PutUint64(b, uint64(seconds+from1900)<<32|uint64(rest<<32/1e9))
}
