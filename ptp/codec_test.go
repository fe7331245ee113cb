package ptp

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/facebook/time/ptp/protocol"
	"github.com/google/go-cmp/cmp"

	"clockarbiter/integration/frugal"
)

// capture reads a datagram that a real ptp4l sent, kept as hexadecimal text.
func capture(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "captures", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var captures = []string{
	"current_data_set", "default_data_set", "parent_data_set", "port_data_set", "port_properties_np",
	"port_stats_np", "time_properties_data_set", "time_status_np", "not_supported",
}

func TestARequestStaysOnThisHostAndNamesOnePort(t *testing.T) {
	b := encodeRequest(protocol.GET, protocol.PortIdentity{ClockIdentity: anyClock, PortNumber: 3}, 24, 0x1234, idPortDataSet, nil)
	m, err := parseManagement(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Message{
		Target: protocol.PortIdentity{ClockIdentity: anyClock, PortNumber: 3}, Domain: 24, Sequence: 0x1234,
		Action: protocol.GET, ID: idPortDataSet, TLV: []byte{0, 1, 0, 2, 0x20, 4},
	}, m); diff != "" {
		t.Error(diff)
	}
	// startingBoundaryHops and boundaryHops (IEEE 1588-2019, table 56).
	if b[44] != 0 || b[45] != 0 {
		t.Errorf("boundary hops %d, %d", b[44], b[45])
	}
}

func TestDataSetsOfARealEngine(t *testing.T) {
	parse := func(name string) Message {
		t.Helper()
		m, err := parseManagement(capture(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return m
	}
	var s Snapshot
	var err error
	check := func(what string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	s.Properties, err = dataSet[TimeProperties](parse("time_properties_data_set"))
	check("time properties")
	s.Time, err = dataSet[protocol.TimeStatusNPTLV](parse("time_status_np"))
	check("time status")
	s.Parent, err = dataSet[protocol.ParentDataSetTLV](parse("parent_data_set"))
	check("parent")
	s.Current, err = dataSet[protocol.CurrentDataSetTLV](parse("current_data_set"))
	check("current")
	s.Default, err = dataSet[protocol.DefaultDataSetTLV](parse("default_data_set"))
	check("default")
	port, err := dataSet[PortDataSet](parse("port_data_set"))
	check("port")
	stats, err := portStats(parse("port_stats_np"))
	check("port stats")
	properties, err := portProperties(parse("port_properties_np"))
	check("port properties")

	got := map[string]any{
		"flags": s.Properties.Flags, "utc offset": s.Properties.CurrentUTCOffset, "time source": s.Properties.TimeSource,
		"gm present": s.Time.GMPresent, "gm": s.Parent.GrandmasterIdentity, "same gm": s.Time.GMIdentity == s.Parent.GrandmasterIdentity,
		"class": s.Parent.GrandmasterClockQuality.ClockClass, "steps removed": s.Current.StepsRemoved,
		"ports": s.Default.NumberPorts, "domain": s.Default.DomainNumber,
		"port": port.PortIdentity.PortNumber, "state": port.PortState, "mechanism": port.DelayMechanism, "version": port.VersionNumber,
		"interface": properties.Interface, "stamping": properties.Timestamping, "state again": properties.PortState,
		"some syncs": stats.RXMsgType[0] > 0 && stats.RXMsgType[0] < 1000, "delay plausible": s.Current.MeanPathDelay>>16 > 100 && s.Current.MeanPathDelay>>16 < 1_000_000,
	}
	want := map[string]any{
		"flags": flagUTCOffsetValid | flagPTPTimescale | flagTimeTraceable | flagFrequencyTraceable | flagLeap61, "utc offset": int16(37), "time source": protocol.TimeSource(0x20),
		"gm present": int32(1), "gm": s.Time.GMIdentity, "same gm": true,
		"class": protocol.ClockClass(6), "steps removed": uint16(1),
		"ports": uint16(1), "domain": uint8(24),
		"port": uint16(1), "state": protocol.PortStateUncalibrated, "mechanism": uint8(1), "version": uint8(2),
		"interface": "ptp0", "stamping": protocol.TimestampingSoftware, "state again": protocol.PortStateUncalibrated,
		"some syncs": true, "delay plausible": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestARefusalIsAnErrorValue(t *testing.T) {
	m, err := parseManagement(capture(t, "not_supported"))
	var status *StatusError
	if !errors.As(err, &status) || m.ID != status.ID {
		t.Fatalf("error is %v", err)
	}
	if !errors.Is(err, protocol.ErrorNotSupported) && !errors.Is(err, protocol.ErrorNoSuchID) {
		t.Errorf("code is %v", status.Code)
	}
}

// Every prefix of every reply is an error that says so, never a value and never a panic.
func TestATruncatedReplyIsAnError(t *testing.T) {
	for _, name := range captures {
		b := capture(t, name)
		for n := range b {
			if m, err := parseManagement(b[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes is %+v", name, n, len(b), m)
			} else if !errors.Is(err, errTruncated) {
				t.Errorf("%s cut to %d bytes: %v", name, n, err)
			}
		}
		if name == "not_supported" {
			continue
		}
		m, err := parseManagement(b)
		if err != nil {
			t.Fatal(err)
		}
		m.TLV = m.TLV[:len(m.TLV)-3]
		if errs := decodeAs(m); errs == nil {
			t.Errorf("%s with a short TLV decodes", name)
		}
	}
}

// decodeAs decodes a message by its identifier.
func decodeAs(m Message) error {
	var err error
	switch m.ID {
	case idTimePropertiesDataSet:
		_, err = dataSet[TimeProperties](m)
	case idPortDataSet:
		_, err = dataSet[PortDataSet](m)
	case idTimeStatusNP:
		_, err = dataSet[protocol.TimeStatusNPTLV](m)
	case idParentDataSet:
		_, err = dataSet[protocol.ParentDataSetTLV](m)
	case idCurrentDataSet:
		_, err = dataSet[protocol.CurrentDataSetTLV](m)
	case idDefaultDataSet:
		_, err = dataSet[protocol.DefaultDataSetTLV](m)
	case idPortStatsNP:
		_, err = portStats(m)
	case idPortPropertiesNP:
		_, err = portProperties(m)
	}
	return err
}

func FuzzParseManagement(f *testing.F) {
	for _, name := range captures {
		f.Add(capture(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		var err error
		frugal.Parse(t, len(b), func() { m, err = parseManagement(b) })
		if err != nil {
			return
		}
		if len(m.TLV) > len(b) || len(m.TLV) < tlvHeadSize+tlvIDSize {
			t.Errorf("TLV of %d bytes in %d", len(m.TLV), len(b))
		}
		_ = decodeAs(m) // must not panic
		// What was understood survives its own encoding.
		again, err := parseManagement(encodeRequest(m.Action, m.Target, m.Domain, m.Sequence, m.ID, m.TLV[tlvHeadSize+tlvIDSize:]))
		if err != nil {
			t.Fatal(err)
		}
		m.Source = protocol.PortIdentity{}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Error(diff)
		}
	})
}
