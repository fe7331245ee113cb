package ptp

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/facebook/time/ptp/protocol"
)

// fakeEngine is the other end of a management connection. answer gets each request and returns
// the datagrams to send back.
type fakeEngine struct {
	conn *net.UnixConn
	path string
}

func startFakeEngine(t *testing.T, path string, answer func(request []byte) [][]byte) *fakeEngine {
	t.Helper()
	conn, err := listenUnixgram(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeEngine{conn: conn, path: path}
	endedC := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-endedC
	})
	go func() {
		defer close(endedC)
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := conn.ReadFromUnix(buf)
			if err != nil {
				return
			}
			for _, b := range answer(append([]byte(nil), buf[:n]...)) {
				// The client may be gone when the test has seen enough; one that waits for the answer fails by itself.
				_, _ = conn.WriteToUnix(b, from)
			}
		}
	}()
	return f
}

func dial(t *testing.T, dir string) *Client {
	t.Helper()
	c, err := DialManagement(filepath.Join(dir, "m.sock"), filepath.Join(dir, "e.sock"), 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// patient is long enough for an answer on the busiest machine.
func patient(t *testing.T) context.Context { return within(t, time.Minute) }

// respond turns a captured reply into the reply to a request.
func respond(t testing.TB, name string, request []byte) []byte {
	b := capture(t, name)
	copy(b[offSequence:offSequence+2], request[offSequence:])
	return b
}

func TestAReplyIsMatchedBySequenceIdentifierAndPort(t *testing.T) {
	dir := t.TempDir()
	startFakeEngine(t, filepath.Join(dir, "e.sock"), func(q []byte) [][]byte {
		late, other, wrongPort := respond(t, "port_data_set", q), respond(t, "time_status_np", q), respond(t, "port_data_set", q)
		binary.BigEndian.PutUint16(late[offSequence:], binary.BigEndian.Uint16(q[offSequence:])-1)
		binary.BigEndian.PutUint16(wrongPort[offSource+8:], 2)
		request := append([]byte(nil), q...)
		right := respond(t, "port_data_set", q)
		right[managementSize+tlvHeadSize+tlvIDSize+portIDSize] = byte(protocol.PortStateSlave)
		return [][]byte{late, other, []byte("garbage"), wrongPort, request, right, right}
	})
	c := dial(t, dir)
	m, err := c.Get(patient(t), 1, idPortDataSet)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := dataSet[PortDataSet](m); err != nil || p.PortState != protocol.PortStateSlave || p.PortIdentity.PortNumber != 1 {
		t.Errorf("reply %+v, %v", p, err)
	}
	select {
	case m := <-c.Notifications():
		if m.ID != idPortDataSet && m.ID != idTimeStatusNP {
			t.Errorf("notification %+v", m)
		}
	case <-time.After(time.Minute):
		t.Error("an unasked message is no notification")
	}
}

func TestARefusalAndATruncatedReplyReachTheCaller(t *testing.T) {
	dir := t.TempDir()
	startFakeEngine(t, filepath.Join(dir, "e.sock"), func(q []byte) [][]byte {
		switch protocol.ManagementID(binary.BigEndian.Uint16(q[managementSize+tlvHeadSize:])) {
		case idTimeStatusNP:
			return [][]byte{respond(t, "time_status_np", q)[:60]}
		default:
			b := respond(t, "not_supported", q)
			copy(b[managementSize+tlvHeadSize+2:], q[managementSize+tlvHeadSize:managementSize+tlvHeadSize+2])
			return [][]byte{b}
		}
	})
	c := dial(t, dir)
	if _, err := c.Get(patient(t), 1, idTimeStatusNP); !errors.Is(err, errTruncated) {
		t.Errorf("truncated reply: %v", err)
	}
	var status *StatusError
	if _, err := c.Get(patient(t), 1, idPortPropertiesNP); !errors.As(err, &status) || status.ID != idPortPropertiesNP {
		t.Errorf("refusal: %v", err)
	}
}

func TestAClientOutlivesItsEngine(t *testing.T) {
	dir := t.TempDir()
	c := dial(t, dir)
	if _, err := c.Get(patient(t), 1, idTimeStatusNP); err == nil || !strings.Contains(err.Error(), "e.sock") {
		t.Errorf("without an engine: %v", err)
	}
	silent := startFakeEngine(t, filepath.Join(dir, "e.sock"), func([]byte) [][]byte { return nil })
	if _, err := c.Get(within(t, 300*time.Millisecond), 1, idTimeStatusNP); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent engine: %v", err)
	}
	silent.conn.Close()
	startFakeEngine(t, filepath.Join(dir, "e.sock"), func(q []byte) [][]byte { return [][]byte{respond(t, "time_status_np", q)} })
	if _, err := c.Get(patient(t), 1, idTimeStatusNP); err != nil {
		t.Errorf("a new engine at the same path: %v", err)
	}
}

func TestCloseEndsAWaitingRequest(t *testing.T) {
	dir := t.TempDir()
	got := make(chan struct{})
	startFakeEngine(t, filepath.Join(dir, "e.sock"), func([]byte) [][]byte { close(got); return nil })
	c := dial(t, dir)
	errC := make(chan error, 1)
	go func() {
		_, err := c.Get(t.Context(), 1, idTimeStatusNP)
		errC <- err
	}()
	<-got
	c.Close()
	if err := <-errC; !errors.Is(err, net.ErrClosed) {
		t.Errorf("error is %v", err)
	}
	if !removed(c.path) {
		t.Error("the socket is left behind")
	}
	if _, err := c.Get(t.Context(), 1, idTimeStatusNP); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
}

// fakeGetter answers with captured replies, changed or refused as a test wants.
type fakeGetter struct {
	t      *testing.T
	refuse map[protocol.ManagementID]error
}

func (f fakeGetter) Get(_ context.Context, port uint16, id protocol.ManagementID) (Message, error) {
	if err := f.refuse[id]; err != nil {
		return Message{}, err
	}
	names := map[protocol.ManagementID]string{
		idTimeStatusNP: "time_status_np", idDefaultDataSet: "default_data_set", idCurrentDataSet: "current_data_set", idParentDataSet: "parent_data_set",
		idTimePropertiesDataSet: "time_properties_data_set", idPortDataSet: "port_data_set", idPortStatsNP: "port_stats_np", idPortPropertiesNP: "port_properties_np",
	}
	return parseManagement(capture(f.t, names[id]))
}

func TestAPollNeedsTheDataSetsAndDoesWithoutTheRest(t *testing.T) {
	refused := &StatusError{Code: protocol.ErrorNotSupported}
	s, err := poll(t.Context(), fakeGetter{t, map[protocol.ManagementID]error{idPortPropertiesNP: refused, idPortStatsNP: refused}}, 2)
	if err != nil || len(s.Ports) != 2 || s.Ports[0].Properties.Present() || s.Ports[1].Stats.Present() {
		t.Errorf("%+v, %v", s.Ports, err)
	}
	for _, id := range []protocol.ManagementID{idTimeStatusNP, idDefaultDataSet, idCurrentDataSet, idParentDataSet, idTimePropertiesDataSet, idPortDataSet} {
		if _, err := poll(t.Context(), fakeGetter{t, map[protocol.ManagementID]error{id: refused}}, 1); !errors.Is(err, protocol.ErrorNotSupported) {
			t.Errorf("0x%04x refused: %v", uint16(id), err)
		}
	}
	s, err = poll(t.Context(), fakeGetter{t: t}, 1)
	if err != nil || !s.Ports[0].Stats.Present() || !s.Ports[0].Properties.Present() {
		t.Errorf("%+v, %v", s.Ports, err)
	}
}

func TestASubscriptionIsAcknowledgedAndNotificationsArrive(t *testing.T) {
	dir := t.TempDir()
	startFakeEngine(t, filepath.Join(dir, "e.sock"), func(q []byte) [][]byte {
		data := q[managementSize+tlvHeadSize+tlvIDSize:]
		if q[offAction] != byte(protocol.SET) || len(data) != 66 || data[1] != 60 || data[2] != 0b101 {
			t.Errorf("subscription % x", q)
		}
		ack, change := append([]byte(nil), q...), capture(t, "port_data_set")
		ack[offAction] = byte(protocol.RESPONSE)
		return [][]byte{ack, change}
	})
	c := dial(t, dir)
	if err := c.Subscribe(patient(t), time.Minute); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-c.Notifications():
		if m.ID != idPortDataSet {
			t.Errorf("notification %+v", m)
		}
	case <-time.After(time.Minute):
		t.Error("no notification")
	}
}
