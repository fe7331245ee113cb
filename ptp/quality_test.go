package ptp

import (
	"strings"
	"testing"
	"time"

	"github.com/facebook/time/ptp/protocol"
	"github.com/google/go-cmp/cmp"

	"clockarbiter/sources"
)

// snapshot is a poll of an engine that follows a good grandmaster on the PTP timescale.
func snapshot(changes ...func(*Snapshot)) Snapshot {
	s := Snapshot{
		Time:       protocol.TimeStatusNPTLV{GMPresent: 1, MasterOffsetNS: -40, GMIdentity: 0x001122fffe334455},
		Current:    protocol.CurrentDataSetTLV{StepsRemoved: 2, MeanPathDelay: 1500 << 16},
		Properties: TimeProperties{CurrentUTCOffset: 37, Flags: flagUTCOffsetValid | flagPTPTimescale | flagTimeTraceable},
		Parent: protocol.ParentDataSetTLV{
			ParentPortIdentity: masterA, GrandmasterIdentity: 0x001122fffe334455,
			GrandmasterClockQuality: protocol.ClockQuality{ClockClass: 6, ClockAccuracy: 0x21},
		},
		Ports: []PortStatus{{Data: PortDataSet{PortState: protocol.PortStateSlave, DelayMechanism: 1}}},
	}
	for _, f := range changes {
		f(&s)
	}
	return s
}

func flags(f TimeFlags) func(*Snapshot) { return func(s *Snapshot) { s.Properties.Flags = f } }

func state(p protocol.PortState) func(*Snapshot) {
	return func(s *Snapshot) { s.Ports[0].Data.PortState = p }
}

func TestQualityIsWhatTheGrandmasterSays(t *testing.T) {
	want := sources.Quality{
		Leap: sources.Some(sources.LeapNone), Reference: "001122.fffe.334455", ClockClass: sources.Some(uint8(6)),
		ClockAccuracy: sources.Some(100 * time.Nanosecond), StepsRemoved: sources.Some(uint16(2)),
		UTCOffset: sources.Some(37 * time.Second), PTPTimescale: sources.Some(true), TimeTraceable: sources.Some(true),
	}
	if diff := cmp.Diff(want, quality(snapshot())); diff != "" {
		t.Error(diff)
	}
	// Without a grandmaster the data sets describe ptp4l itself, and must not be reported as a source's.
	if diff := cmp.Diff(sources.Quality{}, quality(snapshot(func(s *Snapshot) { s.Time.GMPresent = 0 }))); diff != "" {
		t.Error(diff)
	}
	if q := quality(snapshot(flags(flagPTPTimescale))); q.UTCOffset.Present() || !q.TimeTraceable.Is(false) {
		t.Errorf("a UTC offset that is not flagged valid counts: %+v", q)
	}
}

func TestLeapNeedsExactlyOneFlag(t *testing.T) {
	for f, want := range map[TimeFlags]sources.Leap{
		0: sources.LeapNone, flagLeap61: sources.LeapInsert, flagLeap59: sources.LeapDelete, flagLeap59 | flagLeap61: sources.LeapNone,
	} {
		if got := leap(f | flagPTPTimescale); got != want {
			t.Errorf("flags %06b are leap %v, want %v", f, got, want)
		}
	}
}

// IEEE 1588-2019, table 5.
func TestClockAccuracyIsALimit(t *testing.T) {
	for code, want := range map[protocol.ClockAccuracy]sources.Optional[time.Duration]{
		0x00: {}, 0x16: {}, 0x17: sources.Some(time.Nanosecond), 0x1D: sources.Some(time.Nanosecond), 0x20: sources.Some(25 * time.Nanosecond),
		0x21: sources.Some(100 * time.Nanosecond), 0x22: sources.Some(250 * time.Nanosecond), 0x23: sources.Some(time.Microsecond),
		0x24: sources.Some(2500 * time.Nanosecond), 0x29: sources.Some(time.Millisecond), 0x2F: sources.Some(time.Second), 0x30: sources.Some(10 * time.Second),
		0x31: {}, 0x32: {}, 0xFE: {}, 0xFF: {},
	} {
		if got := clockAccuracy(code); got != want {
			t.Errorf("0x%02x is %v, want %v", uint8(code), got, want)
		}
	}
}

func TestUTCOffset(t *testing.T) {
	none := sources.None[time.Duration]()
	for _, c := range []struct {
		name     string
		s        Snapshot
		override sources.Optional[time.Duration]
		want     time.Duration
		unknown  string
	}{
		{"TAI with a valid offset", snapshot(), none, 37 * time.Second, ""},
		{"TAI without one names the remedy", snapshot(flags(flagPTPTimescale)), none, 0, "set utc_offset"},
		{"an arbitrary timescale is taken for UTC", snapshot(flags(flagUTCOffsetValid)), none, 0, ""},
		{"the override wins over silence", snapshot(flags(flagPTPTimescale)), sources.Some(36 * time.Second), 36 * time.Second, ""},
		{"the override wins over a wrong claim", snapshot(), sources.Some(time.Duration(0)), 0, ""},
		{"no grandmaster", snapshot(func(s *Snapshot) { s.Time.GMPresent = 0 }), none, 0, "no grandmaster"},
	} {
		got, unknown := utcOffset(c.s, c.override)
		if got != c.want || (unknown == "") != (c.unknown == "") || !strings.Contains(unknown, c.unknown) {
			t.Errorf("%s: %v, %q", c.name, got, unknown)
		}
	}
}

func TestPortStates(t *testing.T) {
	for _, c := range []struct {
		state protocol.PortState
		want  sources.Condition
		says  string
	}{
		{protocol.PortStateUncalibrated, sources.Measuring, "UNCALIBRATED"},
		{protocol.PortStateSlave, sources.Measuring, "SLAVE"},
		{protocol.PortStateListening, sources.Unreachable, "LISTENING"},
		{protocol.PortStateFaulty, sources.Unreachable, "FAULTY"},
		{protocol.PortStateInitializing, sources.Unreachable, "INITIALIZING"},
		{protocol.PortStateDisabled, sources.Unreachable, "DISABLED"},
		{protocol.PortStatePassive, sources.Unsynchronised, "PASSIVE"},
		{protocol.PortStateMaster, sources.Unsynchronised, "MASTER"},
		{protocol.PortStateGrandMaster, sources.Unsynchronised, "GRAND_MASTER"},
		{protocol.PortState(99), sources.Unsynchronised, "99"},
	} {
		if got, words := portCondition(c.state); got != c.want || !strings.Contains(words, c.says) {
			t.Errorf("%v: %v %q", c.state, got, words)
		}
	}
}
