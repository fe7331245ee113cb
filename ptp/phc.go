package ptp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"clockarbiter/clock/timescale"
)

// PHCReading is one reading of a PTP hardware clock against L.
type PHCReading struct {
	// Time is what the PHC showed, in nanoseconds since its epoch.
	Time int64
	// At is when it showed that, on L, in the middle of the reading window.
	At timescale.Instant
	// Window is the half-width of the reading window: the largest error of At.
	Window time.Duration
}

// phcIoctls are the kernel's three ways to compare a PHC with the system clocks, best first.
type phcIoctls interface {
	precise() (*unix.PtpSysOffsetPrecise, error)
	extended() (*unix.PtpSysOffsetExtended, error)
	plain() (*unix.PtpSysOffset, error)
	Close() error
}

// phcReadings is how many readings are taken at once; the one with the shortest window counts.
const phcReadings = 9

// preciseWindow is the half-width granted to a cross timestamp that the hardware takes in one go.
const preciseWindow = 50 * time.Nanosecond

// PHC reads a PTP hardware clock. It never sets it. Not for concurrent use.
type PHC struct {
	ioctls phcIoctls
	host   HostClock
	level  int // index of the best method that the driver supports, found out once
}

// OpenPHC opens the PHC that belongs to the interface now. The path is found through the interface,
// because /dev/ptp0 is not the same device after each boot.
func OpenPHC(iface string, host HostClock) (*PHC, error) {
	c, err := Probe(iface)
	if err != nil {
		return nil, err
	}
	index, ok := c.PHC.Get()
	if !ok {
		return nil, fmt.Errorf("interface %s has no PHC", iface)
	}
	f, err := os.OpenFile(fmt.Sprintf("/dev/ptp%d", index), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open PHC of %s: %w", iface, err)
	}
	return &PHC{ioctls: phcDevice{f}, host: host}, nil
}

// Close closes the device.
func (p *PHC) Close() error { return p.ioctls.Close() }

// Read takes a reading by the best method that the driver has.
func (p *PHC) Read() (PHCReading, error) {
	methods := []func() (PHCReading, error){p.readPrecise, p.readExtended, p.readPlain}
	for ; p.level < len(methods); p.level++ {
		r, err := methods[p.level]()
		if !unsupported(err) {
			return r, err
		}
	}
	p.level = 0
	return PHCReading{}, errors.New("read PHC: the driver supports none of PTP_SYS_OFFSET_PRECISE, PTP_SYS_OFFSET_EXTENDED, PTP_SYS_OFFSET")
}

// unsupported tells a method that the driver lacks from one that failed this time.
func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL)
}

// readPrecise uses CLOCK_MONOTONIC_RAW, on which L runs: the system clock is not involved at all.
func (p *PHC) readPrecise() (PHCReading, error) {
	o, err := p.ioctls.precise()
	if err != nil {
		return PHCReading{}, fmt.Errorf("PTP_SYS_OFFSET_PRECISE: %w", err)
	}
	return PHCReading{Time: clockNS(o.Device), At: p.host.FromMonotonicRaw(clockNS(o.Monoraw)), Window: preciseWindow}, nil
}

func (p *PHC) readExtended() (PHCReading, error) {
	o, err := p.ioctls.extended()
	if err != nil {
		return PHCReading{}, fmt.Errorf("PTP_SYS_OFFSET_EXTENDED: %w", err)
	}
	n := min(int(o.Samples), len(o.Ts))
	triples := make([][3]int64, 0, n)
	for _, ts := range o.Ts[:n] {
		triples = append(triples, [3]int64{clockNS(ts[0]), clockNS(ts[1]), clockNS(ts[2])})
	}
	return p.shortest(triples)
}

// readPlain uses system, PHC, system, PHC, ..., system: neighbours share a system reading.
func (p *PHC) readPlain() (PHCReading, error) {
	o, err := p.ioctls.plain()
	if err != nil {
		return PHCReading{}, fmt.Errorf("PTP_SYS_OFFSET: %w", err)
	}
	n := min(int(o.Samples), (len(o.Ts)-1)/2)
	triples := make([][3]int64, 0, n)
	for i := range n {
		triples = append(triples, [3]int64{clockNS(o.Ts[2*i]), clockNS(o.Ts[2*i+1]), clockNS(o.Ts[2*i+2])})
	}
	return p.shortest(triples)
}

// shortest picks the reading with the shortest window of CLOCK_REALTIME around it, which was
// interrupted least, and places its middle on L. A window that runs backwards saw a step.
func (p *PHC) shortest(triples [][3]int64) (PHCReading, error) {
	best, width := -1, int64(0)
	for i, t := range triples {
		if w := t[2] - t[0]; w >= 0 && (best < 0 || w < width) {
			best, width = i, w
		}
	}
	if best < 0 {
		return PHCReading{}, errors.New("read PHC: no usable reading window")
	}
	at, err := p.host.Local(triples[best][0] + width/2)
	if err != nil {
		return PHCReading{}, fmt.Errorf("read PHC: place reading on L: %w", err)
	}
	return PHCReading{Time: triples[best][1], At: at, Window: time.Duration(width+1) / 2}, nil
}

func clockNS(t unix.PtpClockTime) int64 { return t.Sec*1_000_000_000 + int64(t.Nsec) }

// phcDevice is an open /dev/ptpN.
type phcDevice struct{ *os.File }

func (d phcDevice) precise() (*unix.PtpSysOffsetPrecise, error) {
	return unix.IoctlPtpSysOffsetPrecise(int(d.Fd()))
}

func (d phcDevice) extended() (*unix.PtpSysOffsetExtended, error) {
	return unix.IoctlPtpSysOffsetExtended(int(d.Fd()), phcReadings)
}

func (d phcDevice) plain() (*unix.PtpSysOffset, error) {
	o := unix.PtpSysOffset{Samples: phcReadings}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), uintptr(unix.PTP_SYS_OFFSET), uintptr(unsafe.Pointer(&o)))
	if errno != 0 {
		return nil, errno
	}
	return &o, nil
}

// stamped is a reading of the PHC and the records that were waiting for it, or why there is no reading.
type stamped struct {
	records Records
	reading PHCReading
	err     error
}

// readPHC reads the interface's PHC at a fixed interval, and as soon as records come in whose timestamps are
// to be placed. After an error it opens it anew: the device may have been unplugged, or got another
// number.
func readPHC(ctx context.Context, iface string, host HostClock, interval time.Duration, in <-chan Records, out chan<- stamped) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var phc *PHC
	defer func() { closePHC(phc) }()
	var s stamped
	for {
		if phc == nil {
			phc, s.err = OpenPHC(iface, host)
		}
		if phc != nil {
			if s.reading, s.err = phc.Read(); s.err != nil {
				closePHC(phc)
				phc = nil
			}
		}
		select {
		case out <- s:
		case <-ctx.Done():
			return
		}
		select {
		case <-ticker.C:
			s.records = Records{}
		case s.records = <-in:
		case <-ctx.Done():
			return
		}
	}
}

// closePHC ignores the error: a device that is only read has nothing to lose at close.
func closePHC(p *PHC) {
	if p != nil {
		_ = p.Close()
	}
}
