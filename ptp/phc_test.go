package ptp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"clockarbiter/clock/timescale"
)

// fakePHC is a driver with some of the ioctls.
type fakePHC struct {
	preciseErr, extendedErr, plainErr error
	triples                           [][3]int64 // system, PHC, system
	calls                             string
}

func at(ns int64) unix.PtpClockTime {
	return unix.PtpClockTime{Sec: ns / 1e9, Nsec: uint32(ns % 1e9)}
}

func (f *fakePHC) precise() (*unix.PtpSysOffsetPrecise, error) {
	f.calls += "p"
	return &unix.PtpSysOffsetPrecise{Device: at(5_000_000_100), Monoraw: at(900), Realtime: at(1)}, f.preciseErr
}

func (f *fakePHC) extended() (*unix.PtpSysOffsetExtended, error) {
	f.calls += "e"
	o := &unix.PtpSysOffsetExtended{Samples: uint32(len(f.triples))}
	for i, t := range f.triples {
		o.Ts[i] = [3]unix.PtpClockTime{at(t[0]), at(t[1]), at(t[2])}
	}
	return o, f.extendedErr
}

func (f *fakePHC) plain() (*unix.PtpSysOffset, error) {
	f.calls += "o"
	o := &unix.PtpSysOffset{Samples: uint32(len(f.triples))}
	for i, t := range f.triples {
		o.Ts[2*i], o.Ts[2*i+1], o.Ts[2*i+2] = at(t[0]), at(t[1]), at(t[2])
	}
	return o, f.plainErr
}

func (f *fakePHC) Close() error { return nil }

// shiftedHost has L 1 s behind CLOCK_REALTIME and 1 h ahead of CLOCK_MONOTONIC_RAW.
type shiftedHost struct{ err error }

func (shiftedHost) Now() timescale.Instant { return 0 }
func (h shiftedHost) Local(ns int64) (timescale.Instant, error) {
	return timescale.Instant(ns - int64(time.Second)), h.err
}
func (shiftedHost) FromMonotonicRaw(ns int64) timescale.Instant {
	return timescale.Instant(ns + int64(time.Hour))
}

func TestPHCIsReadByTheBestMethodThereIs(t *testing.T) {
	triples := [][3]int64{
		{10_000_000_000, 37_000_000_500, 10_000_001_000},
		{10_000_002_000, 37_000_002_200, 10_000_002_300}, // the shortest window
		{10_000_003_000, 37_000_003_400, 10_000_002_900}, // a step in the middle
	}
	adjoining := [][3]int64{
		{10_000_000_000, 37_000_000_500, 10_000_001_000},
		{10_000_001_000, 37_000_001_100, 10_000_001_301},
	}
	no := unix.EOPNOTSUPP
	for _, c := range []struct {
		name string
		fake fakePHC
		want PHCReading
	}{
		{"precise is against CLOCK_MONOTONIC_RAW", fakePHC{}, PHCReading{5_000_000_100, timescale.Instant(900 + int64(time.Hour)), preciseWindow}},
		{"extended: shortest window, its middle", fakePHC{preciseErr: no, triples: triples}, PHCReading{37_000_002_200, 9_000_002_150, 150}},
		{"plain: neighbours share a reading", fakePHC{preciseErr: no, extendedErr: unix.ENOTTY, triples: adjoining}, PHCReading{37_000_001_100, 9_000_001_150, 151}},
	} {
		p := &PHC{ioctls: &c.fake, host: shiftedHost{}}
		got, err := p.Read()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		c.fake.calls = ""
		if _, err := p.Read(); err != nil || len(c.fake.calls) != 1 {
			t.Errorf("%s: the second reading tried %q, %v", c.name, c.fake.calls, err)
		}
	}
}

func TestPHCErrors(t *testing.T) {
	no := unix.EOPNOTSUPP
	for _, c := range []struct {
		name, want string
		fake       fakePHC
		host       shiftedHost
	}{
		{"a driver with nothing", "supports none", fakePHC{preciseErr: no, extendedErr: no, plainErr: no}, shiftedHost{}},
		{"a device that went away is no lack of the driver", "no such device", fakePHC{preciseErr: unix.ENODEV}, shiftedHost{}},
		{"only windows that run backwards", "no usable", fakePHC{preciseErr: no, triples: [][3]int64{{9, 9, 1}}}, shiftedHost{}},
		{"a system clock that cannot be placed", "place reading", fakePHC{preciseErr: no, triples: [][3]int64{{1, 2, 3}}}, shiftedHost{errors.New("unknown")}},
	} {
		p := &PHC{ioctls: &c.fake, host: c.host}
		if _, err := p.Read(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestOpenPHCOfAnInterfaceWithoutOne(t *testing.T) {
	if _, err := OpenPHC("lo", shiftedHost{}); err == nil || !strings.Contains(err.Error(), "lo has no PHC") {
		t.Errorf("error is %v", err)
	}
}
