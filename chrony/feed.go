package chrony

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultFeedInterval is one sample per poll of the rendered reference clock.
const DefaultFeedInterval = 250 * time.Millisecond

// sockMagic is "SOCK", which marks a sample for chronyd's SOCK driver.
const sockMagic = 0x534f434b

// sockSample is the datagram of chronyd's SOCK reference clock driver, in the layout and byte order
// of the machine.
type sockSample struct {
	// Time is CLOCK_REALTIME at the measurement.
	Time unix.Timeval
	// Offset is true time - system time in seconds. Positive: the system clock is slow.
	Offset float64
	// Pulse is 0: the sample has its seconds. Leap is 0, 1 or 2 for none, insert, delete.
	Pulse, Leap, Pad, Magic int32
}

// Feed is the reference clock of a chronyd: it says, over and over, how far the system clock is
// from the truth. For the measuring engine that is 0, by definition.
type Feed struct {
	// Ready tells whether the system clock is fit to be a reference; nil: always. While it is
	// not, nothing is fed: a chronyd that was never fed tells its clients that it is not
	// synchronised, and one that no longer is shows them a root dispersion that grows.
	Ready func() bool

	path     string
	offset   func() time.Duration
	interval time.Duration
	log      *slog.Logger
	conn     *net.UnixConn
}

// NewFeed returns a feed of the SOCK reference clock at path. offset is asked for each sample and
// returns true time - system time; nil stands for 0. A test makes a chronyd lie with it.
func NewFeed(path string, offset func() time.Duration, log *slog.Logger) *Feed {
	if offset == nil {
		offset = func() time.Duration { return 0 }
	}
	return &Feed{path: path, offset: offset, interval: DefaultFeedInterval, log: log}
}

// Run feeds until ctx ends, and returns its error. A chronyd that is not there, or is started again,
// is no error: the feed dials at each sample until it is met.
func (f *Feed) Run(ctx context.Context) error {
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	defer f.hangUp()
	var last error
	for {
		err := f.send(time.Now())
		if (err == nil) != (last == nil) {
			f.report(err)
		}
		last = err
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// report logs the edges between reaching chronyd and not.
func (f *Feed) report(err error) {
	if err != nil {
		f.log.Debug("chronyd takes no reference samples", "socket", f.path, "error", err)
		return
	}
	f.log.Debug("chronyd takes reference samples", "socket", f.path)
}

// send delivers one sample taken at now, unless the clock is not ready, dialling first where needed. A chronyd that does not
// read delays it by one interval at most.
func (f *Feed) send(now time.Time) error {
	if f.Ready != nil && !f.Ready() {
		return nil
	}
	if f.conn == nil {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: f.path, Net: "unixgram"})
		if err != nil {
			return err
		}
		f.conn = conn
	}
	err := f.conn.SetWriteDeadline(now.Add(f.interval))
	if err == nil {
		_, err = f.conn.Write(encodeSample(now, f.offset()))
	}
	if err != nil {
		f.hangUp()
	}
	return err
}

// hangUp closes the socket, if there is one.
func (f *Feed) hangUp() {
	if f.conn != nil {
		f.conn.Close()
		f.conn = nil
	}
}

// encodeSample returns the datagram for an offset at an instant of CLOCK_REALTIME. The instant is
// cut to microseconds, which does no harm: the offset holds as well a microsecond earlier. Rounded
// up it would lie in the future, which chronyd refuses.
func encodeSample(at time.Time, offset time.Duration) []byte {
	s := sockSample{Time: unix.NsecToTimeval(at.Truncate(time.Microsecond).UnixNano()), Offset: offset.Seconds(), Magic: sockMagic}
	p, err := binary.Append(nil, binary.NativeEndian, s)
	if err != nil {
		panic("chrony: sockSample has a fixed size: " + err.Error())
	}
	return p
}
