package ptp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/facebook/time/ptp/protocol"
	"github.com/google/go-cmp/cmp"

	"clockarbiter/integration/frugal"
)

// Datagrams that ptp4l 3.1.1 sent to a slave event monitor.
const (
	realSync = "0c02005c00000000000000000000000000000000b68bd0fffe01ecb300000001057fffffffffffffffffffff" +
		"8004002ce2db44fffebe6cbe0001000800006b034b141b7c59d000000000000000000000000000006b034b141b7c5f18"
	realDelay = "0c02005800000000000000000000000000000000b68bd0fffe01ecb300000002057fffffffffffffffffffff" +
		"7f000028e2db44fffebe6cbe0001000200006b034b1532407404000000000000000000006b034b15324079e2"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordsOfARealEngine(t *testing.T) {
	parent := protocol.PortIdentity{ClockIdentity: 0xe2db44fffebe6cbe, PortNumber: 1}
	got, err := parseRecords(unhex(t, realSync))
	if err != nil {
		t.Fatal(err)
	}
	want := Records{Syncs: []SyncRecord{{Parent: parent, Sequence: 8, T1: 1795377940_461134288, T2: 1795377940_461135640}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, err = parseRecords(unhex(t, realDelay))
	if err != nil {
		t.Fatal(err)
	}
	want = Records{Delays: []DelayRecord{{Parent: parent, Sequence: 2, T3: 1795377941_843084804, T4: 1795377941_843086306}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A correction field on a Sync says that it left later, in effect, than t1; on a Delay_Resp, that
// the request arrived earlier than t4 (IEEE 1588-2019, 11.2 and 11.3).
func TestCorrectionFieldsAreApplied(t *testing.T) {
	const ns = 12_345
	b := unhex(t, realSync)
	binary.BigEndian.PutUint64(b[signalingSize+tlvHeadSize+portIDSize+12:], ns<<16|0x8000)
	r, err := parseRecords(b)
	if err != nil || r.Syncs[0].T1 != 1795377940_461134288+ns+1 {
		t.Errorf("corrected t1 %v, %v", r, err)
	}
	b = unhex(t, realDelay)
	binary.BigEndian.PutUint64(b[signalingSize+tlvHeadSize+portIDSize+12:], ns<<16)
	r, err = parseRecords(b)
	if err != nil || r.Delays[0].T4 != 1795377941_843086306-ns {
		t.Errorf("corrected t4 %v, %v", r, err)
	}
}

func TestSeveralRecordsAndUnknownTLVs(t *testing.T) {
	sync, delay := unhex(t, realSync), unhex(t, realDelay)
	b := append([]byte(nil), sync...)
	b = append(b, 0x80, 0x05, 0, 4, 1, 2, 3, 4) // SLAVE_RX_SYNC_COMPUTED_DATA: not used
	b = append(b, delay[signalingSize:]...)
	two := append(append([]byte(nil), sync[signalingSize:]...), sync[len(sync)-syncRecordSize:]...)
	binary.BigEndian.PutUint16(two[2:], portIDSize+2*syncRecordSize)
	b = append(b, two...)
	binary.BigEndian.PutUint16(b[offLength:], uint16(len(b)))
	r, err := parseRecords(b)
	if err != nil || len(r.Syncs) != 3 || len(r.Delays) != 1 {
		t.Errorf("%d Syncs, %d delays, %v", len(r.Syncs), len(r.Delays), err)
	}
}

func TestGarbageIsAnError(t *testing.T) {
	for _, real := range []string{realSync, realDelay} {
		b := unhex(t, real)
		for n := range b {
			if _, err := parseRecords(b[:n]); !errors.Is(err, errTruncated) {
				t.Errorf("cut to %d bytes: %v", n, err)
			}
		}
	}
	for _, c := range []struct {
		name, want string
		mend       func([]byte)
	}{
		{"another message type", "signaling", func(b []byte) { b[0] = 0x0d }},
		{"nanoseconds of a whole second", "out of range", func(b []byte) { binary.BigEndian.PutUint32(b[66:], 1e9) }},
		{"seconds of 8.9 million years", "out of range", func(b []byte) { b[60], b[61] = 0xff, 0xff }},
		{"correction of an hour", "out of range", func(b []byte) { b[70] = 0x03 }},
	} {
		b := unhex(t, realSync)
		c.mend(b)
		if _, err := parseRecords(b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzParseRecords(f *testing.F) {
	f.Add(unhex(f, realSync))
	f.Add(unhex(f, realDelay))
	f.Fuzz(func(t *testing.T, b []byte) {
		frugal.Parse(t, len(b), func() {
			r, err := parseRecords(b)
			if n := len(r.Syncs)*syncRecordSize + len(r.Delays)*delayRecordSize; n > len(b) || (err != nil && n > 0) {
				t.Errorf("%d bytes of records in %d, %v", n, len(b), err)
			}
		})
	})
}

func FuzzParseRelease(f *testing.F) {
	for _, seed := range []string{"3.1.1", "4.4-00012-gdeadbee", "v4", "99999.1", "4.2\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		frugal.Parse(t, len(said), func() {
			r, err := ParseRelease(said)
			if err == nil && (r.Major < 0 || r.Minor < 0 || r.Patch < 0 || r.Major > 9999) {
				t.Errorf("%q is %v", said, r)
			}
		})
	})
}
