package tracer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hook is where in the kernel a record was made.
type hook uint32

// The hooks. The programs write these numbers.
const (
	hookAdjtimex   hook = iota + 1 // do_adjtimex has written
	hookSetTime                    // do_settimeofday64 has written
	hookCapable                    // CAP_SYS_TIME was refused
	hookRefusedSet                 // clock_settime or settimeofday was refused
)

// The layout of a record: offsets in bytes, everything in the machine's own order.
const (
	atHook       = 0
	atModes      = 4
	atTime       = 8
	atPID        = 16 // thread in the lower half, process in the upper
	atUID        = 24 // user in the lower half, group in the upper
	atCgroup     = 32
	atName       = 40
	atOffset     = 56
	atFreq       = 64
	atSec        = 72
	atNsec       = 80
	atTick       = 88
	atConstant   = 96
	atStatus     = 104
	atArgs       = 112
	atLeaf       = atArgs + argsLength
	recordLength = atLeaf + leafLength

	nameLength = 16 // TASK_COMM_LEN
	argsLength = 128
	leafLength = 96
)

// record is what a program said of one call.
type record struct {
	hook            hook
	modes           uint32
	monotonic       time.Duration // CLOCK_MONOTONIC
	process, thread int
	uid             uint32
	cgroup          uint64 // identifier of the cgroup in the unified hierarchy
	name            string
	args            []string
	leaf            string // last part of the cgroup's path

	offset, freq, sec, nsec, tick, constant int64
	status                                  int32
}

var (
	errLength = errors.New("record of another length")
	errHook   = errors.New("record of an unknown hook")
)

// decode reads what the programs wrote. What a stranger chose, its name and its arguments, is made
// printable.
func decode(raw []byte) (record, error) {
	if len(raw) < recordLength {
		return record{}, fmt.Errorf("%w: %d bytes", errLength, len(raw))
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(raw[at:]) }
	u64 := func(at int) uint64 { return binary.NativeEndian.Uint64(raw[at:]) }
	i64 := func(at int) int64 { return int64(u64(at)) }
	r := record{
		hook: hook(u32(atHook)), modes: u32(atModes), monotonic: time.Duration(u64(atTime) &^ (1 << 63)),
		process: int(u64(atPID) >> 32), thread: int(uint32(u64(atPID))), uid: uint32(u64(atUID)), cgroup: u64(atCgroup),
		name: word(raw[atName : atName+nameLength]), leaf: word(raw[atLeaf : atLeaf+leafLength]),
		offset: i64(atOffset), freq: i64(atFreq), sec: i64(atSec), nsec: i64(atNsec), tick: i64(atTick),
		constant: i64(atConstant), status: int32(u64(atStatus)),
	}
	if r.hook < hookAdjtimex || r.hook > hookRefusedSet {
		return record{}, fmt.Errorf("%w: %d", errHook, r.hook)
	}
	r.args = words(raw[atArgs : atArgs+argsLength])
	return r, nil
}

// word is a string that ends with a zero byte or with its field.
func word(field []byte) string {
	text, _, _ := bytes.Cut(field, []byte{0})
	return printable(string(text))
}

// words are the arguments of a command line; the last one may be cut.
func words(field []byte) []string {
	field = bytes.TrimRight(field, "\x00")
	if len(field) == 0 {
		return nil
	}
	var list []string
	for arg := range bytes.SplitSeq(field, []byte{0}) {
		list = append(list, printable(string(arg)))
	}
	return list
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Modes of adjtimex(2) that x/sys does not name.
const (
	adjAdjtime  = 0x8000 // ADJ_ADJTIME: the call is adjtime(3)'s
	adjReadOnly = 0x2000 // ADJ_OFFSET_READONLY
)

// writes reports whether the call changed anything.
func (r record) writes() bool {
	return r.hook != hookAdjtimex || r.modes != 0 && !(r.modes&adjAdjtime != 0 && r.modes&adjReadOnly != 0)
}

// what says in words what was written, with figures, or what was refused.
func (r record) what() string {
	switch r.hook {
	case hookSetTime:
		return "set the clock to " + time.Unix(r.sec, r.nsec).UTC().Format(time.RFC3339Nano)
	case hookCapable:
		return "asked for CAP_SYS_TIME (adjtimex, clock_settime, settimeofday or the hardware clock)"
	case hookRefusedSet:
		return "set the clock to " + time.Unix(r.sec, r.nsec).UTC().Format(time.RFC3339Nano)
	case hookAdjtimex:
	}
	if r.modes&adjAdjtime != 0 {
		return fmt.Sprintf("adjtime of %+d us", r.offset)
	}
	// The unit of time and offset in this call (ADJ_NANO, ADJ_MICRO, adjtimex(2)).
	unit, name := time.Microsecond, "us"
	if r.modes&unix.ADJ_NANO != 0 || r.modes&unix.ADJ_MICRO == 0 && r.status&unix.STA_NANO != 0 {
		unit, name = time.Nanosecond, "ns"
	}
	var parts []string
	add := func(mode uint32, format string, args ...any) {
		if r.modes&mode != 0 {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	if r.modes&unix.ADJ_SETOFFSET != 0 {
		if r.modes&unix.ADJ_NANO == 0 {
			unit = time.Microsecond
		}
		parts = append(parts, fmt.Sprintf("step of %+.9f s", float64(r.sec)+float64(r.nsec)*unit.Seconds()))
	}
	add(unix.ADJ_FREQUENCY, "frequency %+.3f ppm", float64(r.freq)/65536)
	add(unix.ADJ_TICK, "tick %d us", r.tick)
	add(unix.ADJ_OFFSET, "offset %+d %s", r.offset, name)
	add(unix.ADJ_STATUS, "status %#x", r.status)
	add(unix.ADJ_TAI, "TAI - UTC %d s", r.constant)
	add(unix.ADJ_TIMECONST, "time constant %d", r.constant)
	add(unix.ADJ_MAXERROR, "maxerror")
	add(unix.ADJ_ESTERROR, "esterror")
	if len(parts) == 0 {
		return fmt.Sprintf("modes %#x", r.modes)
	}
	return strings.Join(parts, ", ")
}
