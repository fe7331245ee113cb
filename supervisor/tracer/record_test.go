package tracer

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"clockarbiter/integration/frugal"
)

// sample is a record as the programs write it.
type sample struct {
	hook                                    hook
	modes, process, thread, uid             uint32
	monotonic, cgroup                       uint64
	name, args, leaf                        string
	offset, freq, sec, nsec, tick, constant int64
	status                                  int32
}

func (s sample) raw() []byte {
	raw := make([]byte, recordLength)
	u32 := func(at int, v uint32) { binary.NativeEndian.PutUint32(raw[at:], v) }
	u64 := func(at int, v uint64) { binary.NativeEndian.PutUint64(raw[at:], v) }
	u32(atHook, uint32(s.hook))
	u32(atModes, s.modes)
	u64(atTime, s.monotonic)
	u64(atPID, uint64(s.process)<<32|uint64(s.thread))
	u64(atUID, uint64(7)<<32|uint64(s.uid))
	u64(atCgroup, s.cgroup)
	for at, v := range map[int]int64{atOffset: s.offset, atFreq: s.freq, atSec: s.sec, atNsec: s.nsec, atTick: s.tick, atConstant: s.constant} {
		u64(at, uint64(v))
	}
	u64(atStatus, uint64(uint32(s.status))) // loaded as a word
	copy(raw[atName:atName+nameLength], s.name)
	copy(raw[atArgs:atArgs+argsLength], s.args)
	copy(raw[atLeaf:atLeaf+leafLength], s.leaf)
	return raw
}

func TestRecordsAreDecoded(t *testing.T) {
	long := strings.Repeat("x", argsLength)
	for _, c := range []struct {
		rule string
		in   sample
		want record
	}{
		{"everything in its place",
			sample{hook: hookAdjtimex, modes: 3, monotonic: 5e9, process: 300, thread: 301, uid: 1000, cgroup: 77, name: "date", args: "date\x00-s\x00now\x00",
				leaf: "a.service", offset: -1, freq: -2, sec: -3, nsec: 4, tick: 5, constant: 6, status: -7},
			record{hook: hookAdjtimex, modes: 3, monotonic: 5 * time.Second, process: 300, thread: 301, uid: 1000, cgroup: 77, name: "date",
				args: []string{"date", "-s", "now"}, leaf: "a.service", offset: -1, freq: -2, sec: -3, nsec: 4, tick: 5, constant: 6, status: -7}},
		{"fields that are full, without a zero", sample{hook: hookSetTime, name: strings.Repeat("n", nameLength), args: long, leaf: strings.Repeat("l", leafLength)},
			record{hook: hookSetTime, name: strings.Repeat("n", nameLength), args: []string{long}, leaf: strings.Repeat("l", leafLength)}},
		{"what a stranger chose is made printable", sample{hook: hookCapable, name: "a\nb", args: "x\x1b[31m\x00\xff\xfe\x00"},
			record{hook: hookCapable, name: "a?b", args: []string{"x?[31m", "?"}}},
		{"an empty argument stays", sample{hook: hookSetTime, args: "a\x00\x00b\x00"}, record{hook: hookSetTime, args: []string{"a", "", "b"}}},
	} {
		got, err := decode(c.in.raw())
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(record{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.rule, err, diff)
		}
	}
	if _, err := decode(sample{hook: hookSetTime}.raw()[:recordLength-1]); !errors.Is(err, errLength) {
		t.Errorf("a short record: %v", err)
	}
	for _, h := range []hook{0, hookRefusedSet + 1} {
		if _, err := decode(sample{hook: h}.raw()); !errors.Is(err, errHook) {
			t.Errorf("hook %d: %v", h, err)
		}
	}
}

// recordLength is a multiple of what the programs clear at a time, and fits on a program's stack with its key.
func TestARecordFitsOnAStack(t *testing.T) {
	if recordLength%8 != 0 || -frameKey > 512 {
		t.Errorf("record of %d bytes, frame of %d", recordLength, -frameKey)
	}
}

func TestCallsAreSaidInWords(t *testing.T) {
	for _, c := range []struct {
		want string
		r    record
	}{
		{"set the clock to 2026-06-01T12:00:00.5Z", record{hook: hookSetTime, sec: 1780315200, nsec: 500_000_000}},
		{"set the clock to 1970-01-01T00:00:00Z", record{hook: hookRefusedSet}},
		{"asked for CAP_SYS_TIME (adjtimex, clock_settime, settimeofday or the hardware clock)", record{hook: hookCapable}},
		{"frequency -12.500 ppm, tick 9999 us", record{hook: hookAdjtimex, modes: unix.ADJ_FREQUENCY | unix.ADJ_TICK, freq: -819200, tick: 9999}},
		{"step of +1.000000001 s", record{hook: hookAdjtimex, modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, sec: 1, nsec: 1}},
		{"step of -0.000001000 s", record{hook: hookAdjtimex, modes: unix.ADJ_SETOFFSET, sec: -1, nsec: 999_999}},
		{"adjtime of -400 us", record{hook: hookAdjtimex, modes: 0x8001, offset: -400}},
		{"offset +5 us", record{hook: hookAdjtimex, modes: unix.ADJ_OFFSET, offset: 5}},
		{"offset +5 ns", record{hook: hookAdjtimex, modes: unix.ADJ_OFFSET | unix.ADJ_NANO, offset: 5}},
		{"status 0x40, TAI - UTC 37 s", record{hook: hookAdjtimex, modes: unix.ADJ_STATUS | unix.ADJ_TAI, status: 0x40, constant: 37}},
		{"time constant 7, maxerror, esterror", record{hook: hookAdjtimex, modes: unix.ADJ_TIMECONST | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR, constant: 7}},
		{"modes 0x2000", record{hook: hookAdjtimex, modes: unix.ADJ_NANO}},
	} {
		if got := c.r.what(); got != c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.r, got, c.want)
		}
	}
}

func TestReadingIsNoWriting(t *testing.T) {
	for modes, want := range map[uint32]bool{0: false, 0xa001: false, 0x8001: true, unix.ADJ_NANO: true, unix.ADJ_FREQUENCY: true} {
		if got := (record{hook: hookAdjtimex, modes: modes}).writes(); got != want {
			t.Errorf("modes %#x: writes %t", modes, got)
		}
	}
}

// Whatever is in the buffer, decoding ends, and what comes out can be printed and is bounded.
func FuzzDecode(f *testing.F) {
	f.Add(sample{hook: hookAdjtimex, modes: 0xffff, name: "date", args: "date\x00-s\x00", leaf: "x.service", sec: -1 << 63, nsec: 1<<63 - 1}.raw())
	f.Add(sample{hook: hookSetTime, sec: 1<<63 - 1, nsec: -1 << 63}.raw())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		frugal.Parse(t, len(raw), func() {
			r, err := decode(raw)
			if err != nil {
				return
			}
			f := finder{proc: noProc, known: map[uint64]string{}}
			c := f.call(r)
			for _, s := range []string{c.What, c.Who(), c.Command, c.Unit, c.Container} {
				if len(s) > 1024 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Fatalf("%q", s)
				}
			}
		})
	})
}
