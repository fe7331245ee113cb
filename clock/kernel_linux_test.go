package clock

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"clockarbiter/sources"
)

// fakeKernel is the state behind clock_adjtime, as kernel/time/ntp.c and timekeeping.c keep it, on
// top of two simulated clocks. It is written from clock_adjtime(2), not from timexOf.
type fakeKernel struct {
	*twoClocks
	t       unix.Timex
	slewing int64 // what adjtime(3) still holds
	calls   []uint32
	refuse  error
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{twoClocks: newTwoClocks(), t: unix.Timex{Tick: 10000, Status: unix.STA_UNSYNC, Maxerror: 16e6, Esterror: 16e6}}
}

func (k *fakeKernel) call(t *unix.Timex) error {
	k.calls = append(k.calls, t.Modes)
	if k.refuse != nil && t.Modes != 0 {
		return k.refuse
	}
	if t.Modes == unix.ADJ_OFFSET_SINGLESHOT {
		k.slewing, k.twoClocks.adjtime = t.Offset, 0
		*t = k.t
		return nil
	}
	if t.Modes&unix.ADJ_SETOFFSET != 0 {
		if t.Modes&unix.ADJ_NANO == 0 || t.Time.Usec < 0 || t.Time.Usec >= 1e9 {
			return unix.EINVAL
		}
		k.step(t.Time.Sec*1e9 + t.Time.Usec)
		k.t.Status |= unix.STA_UNSYNC
		k.t.Maxerror, k.t.Esterror = 16e6, 16e6
	}
	k.setFields(t)
	*t = k.t
	return nil
}

func (k *fakeKernel) setFields(t *unix.Timex) {
	if t.Modes&unix.ADJ_STATUS != 0 {
		k.t.Status = t.Status
	}
	if t.Modes&unix.ADJ_NANO != 0 {
		k.t.Status |= unix.STA_NANO
	}
	if t.Modes&unix.ADJ_FREQUENCY != 0 {
		k.t.Freq = max(-32768000, min(32768000, t.Freq))
	}
	if t.Modes&unix.ADJ_TICK != 0 {
		k.t.Tick = t.Tick
	}
	if t.Modes&unix.ADJ_MAXERROR != 0 {
		k.t.Maxerror = t.Maxerror
	}
	if t.Modes&unix.ADJ_ESTERROR != 0 {
		k.t.Esterror = t.Esterror
	}
	if t.Modes&unix.ADJ_TAI != 0 {
		k.t.Tai = int32(t.Constant)
	}
	if t.Modes&unix.ADJ_OFFSET != 0 && k.t.Status&unix.STA_PLL != 0 {
		k.t.Offset = t.Offset
	}
	k.ppm = float64(k.t.Freq)/65536 + float64(k.t.Tick-10000)*100
}

func (k *fakeKernel) system() *System { return &System{host: k.host(), adj: k.call} }

func TestSystemApplyIsReadBack(t *testing.T) {
	k := newFakeKernel()
	s := k.system()
	err := s.Apply(Command{
		FreqPPB: sources.Some(-540_000.0), Step: sources.Some(-15 * time.Millisecond), Synchronised: true,
		TAIOffset: sources.Some(37), MaxError: 3 * time.Millisecond, EstError: time.Microsecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	if (got.Offset + 15*time.Millisecond).Abs() > 10 {
		t.Errorf("offset %v after a step of -15ms", got.Offset)
	}
	got.At, got.Offset = 0, 0
	want := Reading{Window: 100, FreqPPB: -540_000, TickMicros: 9995, TAIOffset: 37, Synchronised: true,
		MaxError: 3 * time.Millisecond, EstError: time.Microsecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reading differs (-want +got):\n%s", diff)
	}
}

func TestSystemReadAdjustsNothing(t *testing.T) {
	k := newFakeKernel()
	before := k.t
	for _, clock := range []Kernel{k.system(), &Observer{host: k.host(), adj: k.call}} {
		if _, err := clock.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, k.t, ignorePadding); diff != "" {
		t.Errorf("a read changed the kernel:\n%s", diff)
	}
	if diff := cmp.Diff([]uint32{0, 0}, k.calls); diff != "" {
		t.Errorf("modes differ (-want +got):\n%s", diff)
	}
}

func TestSystemTakesOverOnce(t *testing.T) {
	k := newFakeKernel()
	k.slewing, k.t.Offset, k.t.Status, k.t.Freq = 5000, 9000, unix.STA_PLL, 777
	s := k.system()
	for range 2 {
		if err := s.Apply(Command{Synchronised: true}); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.calls) != 4 {
		t.Errorf("%d calls, want two to take over and one for each command", len(k.calls))
	}
	if k.slewing != 0 || k.t.Offset != 0 || k.t.Status&unix.STA_PLL != 0 {
		t.Errorf("left running: adjtime %d, PLL offset %d, status %#x", k.slewing, k.t.Offset, k.t.Status)
	}
	if k.t.Freq != 777 {
		t.Errorf("frequency became %d without a command", k.t.Freq)
	}
}

func TestSystemNamesAForeignWrite(t *testing.T) {
	k := newFakeKernel()
	s := k.system()
	read := func() sources.Optional[ForeignWrite] {
		t.Helper()
		r, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		return r.Foreign
	}
	k.t.Freq = 1
	if f := read(); f.Present() {
		t.Errorf("before the first write: %v", f)
	}
	apply := Command{FreqPPB: sources.Some(1000.0), Synchronised: true}
	if err := s.Apply(apply); err != nil {
		t.Fatal(err)
	}
	if f := read(); f.Present() {
		t.Errorf("our own write: %v", f)
	}
	k.t.Freq = -4
	if f := read(); f.String() != "freq 65536 -> -4 (2^-16 ppm)" {
		t.Errorf("foreign frequency: %v", f)
	}
	if err := s.Apply(apply); err != nil {
		t.Fatal(err)
	}
	if f := read(); f.Present() {
		t.Errorf("after it was undone: %v", f)
	}
}

func TestSystemRefusals(t *testing.T) {
	k := newFakeKernel()
	k.refuse = unix.EPERM
	s := k.system()
	err := s.Apply(Command{})
	if !errors.Is(err, ErrNoPrivilege) || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_SYS_TIME") {
		t.Errorf("without privilege: %v", err)
	}
	k.refuse = nil
	if err := s.Apply(Command{}); err != nil {
		t.Fatal(err)
	}
	k.refuse = unix.EINVAL
	err = s.Apply(Command{FreqPPB: sources.Some(1.0), Step: sources.Some(time.Second), TAIOffset: sources.Some(37)})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Part != "step, frequency, status, TAI offset" {
		t.Errorf("refused step: %v", err)
	}
	calls := len(k.calls)
	if err := s.Apply(Command{FreqPPB: sources.Some(2e6)}); err == nil || len(k.calls) != calls {
		t.Errorf("a frequency out of range: error %v, %d calls", err, len(k.calls)-calls)
	}
}

func TestSystemNarrowsItsOwnStep(t *testing.T) {
	k := newFakeKernel()
	s := k.system()
	for range 4 {
		k.advance(250e6)
		if _, err := s.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Apply(Command{Step: sources.Some(time.Millisecond)}); err != nil {
		t.Fatal(err)
	}
	k.advance(10e3)
	reading, want := k.raw+k.offset, s.host.FromMonotonicRaw(k.raw)
	k.advance(250e6)
	got, err := s.host.Local(reading)
	if err != nil || got.Sub(want).Abs() > 200 {
		t.Errorf("10 us after a step of 1 ms: %v off, %v", got.Sub(want), err)
	}
}

func TestObserverRecordsAndAdjustsNothing(t *testing.T) {
	k := newFakeKernel()
	o := &Observer{host: k.host(), adj: k.call}
	if o.Would().Present() {
		t.Error("a command before the first")
	}
	c := Command{FreqPPB: sources.Some(5.0), Step: sources.Some(time.Second)}
	if err := o.Apply(c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sources.Some(c), o.Would()); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if len(k.calls) != 0 {
		t.Errorf("called the kernel with modes %v", k.calls)
	}
	if err := o.Apply(Command{FreqPPB: sources.Some(2e6)}); err == nil {
		t.Error("accepts what the kernel would refuse")
	}
}

// What other tests need of the system's words.
type unixTimex = unix.Timex

const (
	staPLL = unix.STA_PLL
	staINS = unix.STA_INS
	staDEL = unix.STA_DEL
)
