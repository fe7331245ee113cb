package chrony

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// fakeChronyd answers on a Unix socket as a test tells it to.
type fakeChronyd struct {
	conn *net.UnixConn
	mu   sync.Mutex
	// answer returns the datagrams for a request, none for silence.
	answer func(cmd command, sequence uint32, body []byte) [][]byte
	count  map[command]int
}

// shortDir returns a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chrony")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(filepath.Join(dir, "dump"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func startFake(t *testing.T, path string, answer func(command, uint32, []byte) [][]byte) *fakeChronyd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeChronyd{conn: conn, answer: answer, count: map[command]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.serve()
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return f
}

func (f *fakeChronyd) serve() {
	buffer := make([]byte, 4096)
	for {
		n, from, err := f.conn.ReadFromUnix(buffer)
		if err != nil {
			return
		}
		cmd := command(binary.BigEndian.Uint16(buffer[4:]))
		f.mu.Lock()
		f.count[cmd]++
		answers := f.answer(cmd, binary.BigEndian.Uint32(buffer[8:]), buffer[requestHeadLen:n])
		f.mu.Unlock()
		for _, a := range answers {
			_, _ = f.conn.WriteToUnix(a, from) // the client may be gone: that is for its test to see
		}
	}
}

// set changes the answers.
func (f *fakeChronyd) set(answer func(command, uint32, []byte) [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fakeChronyd) asked(cmd command) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[cmd]
}

// reply frames an answer; the bytes stand in candm.h's order, written here by hand.
func reply(cmd command, sequence uint32, kind, status uint16, body []byte) []byte {
	p := []byte{6, 2, 0, 0}
	p = binary.BigEndian.AppendUint16(p, uint16(cmd))
	p = binary.BigEndian.AppendUint16(p, kind)
	p = binary.BigEndian.AppendUint16(p, status)
	p = append(p, 0, 0, 0, 0, 0, 0)
	p = binary.BigEndian.AppendUint32(p, sequence)
	p = append(p, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(p, body...)
}

// fakeSource is one source of a fakeState.
type fakeSource struct {
	address  Address
	name     string
	refclock bool
	reach    uint8
	latest   uint32 // a chrony float
	poll     int16
	ntp      []byte
	ntpType  uint16
	auth     []byte
}

// fakeState is a chronyd in one state; its answer method is what fakeChronyd wants.
type fakeState struct {
	sources []fakeSource
	// correction is tracking's current correction as a chrony float.
	correction uint32
	// mangle changes a reply before it is sent; nil leaves it.
	mangle func(command, []byte) []byte
}

func (s fakeState) answer(cmd command, sequence uint32, body []byte) [][]byte {
	kind, status, data := s.body(cmd, body)
	p := reply(cmd, sequence, kind, status, data)
	if s.mangle != nil {
		p = s.mangle(cmd, p)
	}
	return [][]byte{p}
}

func (s fakeState) body(cmd command, body []byte) (kind, status uint16, data []byte) {
	switch cmd {
	case cmdDump:
		return 1, 0, nil
	case cmdTracking:
		data = make([]byte, 76)
		binary.BigEndian.PutUint32(data[40:], s.correction)
		return 5, 0, data
	case cmdNSources:
		return 2, 0, binary.BigEndian.AppendUint32(nil, uint32(len(s.sources)))
	case cmdSourceData:
		i := binary.BigEndian.Uint32(body)
		return 3, 0, s.sources[i].data()
	}
	for _, source := range s.sources {
		if string(source.address.encode()) == string(body[:20]) {
			return source.body(cmd)
		}
	}
	return 1, uint16(StatusNoSuchSource), nil
}

func (s fakeSource) data() []byte {
	p := s.address.encode()
	p = binary.BigEndian.AppendUint16(p, uint16(s.poll))
	mode := uint16(0)
	if s.refclock {
		mode = 2
	}
	for _, v := range []uint16{2, 1, mode, 1, uint16(s.reach)} { // stratum, state, mode, flags, reachability
		p = binary.BigEndian.AppendUint16(p, v)
	}
	p = binary.BigEndian.AppendUint32(p, 0) // age of the newest sample
	p = binary.BigEndian.AppendUint32(p, s.latest)
	return append(p, make([]byte, 8)...)
}

func (s fakeSource) body(cmd command) (kind, status uint16, data []byte) {
	switch cmd {
	case cmdSourceName:
		return 19, 0, append([]byte(s.name), make([]byte, 256-len(s.name))...)
	case cmdNTPData:
		if s.ntpType == 26 {
			return 26, 0, append(append([]byte{}, s.ntp...), make([]byte, 16)...)
		}
		return 16, 0, s.ntp
	case cmdAuthData:
		if s.auth == nil {
			return 20, 0, make([]byte, 24)
		}
		return 20, 0, s.auth
	}
	return 1, 1, nil
}

// ntpBody is the body of an ntpdata reply. Floats are left 0 but for the root delay, which is
// coefficient 1 with exponent 1 - 25 + 25 = 2^-24 s in chrony's format.
func ntpBody(leap, stratum uint8, refID uint32, tests uint16, sent, received, valid, good uint32) []byte {
	p := make([]byte, 124)
	p[42], p[45] = leap, stratum
	binary.BigEndian.PutUint32(p[48:], 1<<25|1)
	binary.BigEndian.PutUint32(p[56:], refID)
	binary.BigEndian.PutUint16(p[92:], tests)
	for i, v := range []uint32{sent, received, valid, good} {
		binary.BigEndian.PutUint32(p[96+4*i:], v)
	}
	return p
}

// authBody is the body of an authdata reply.
func authBody(mode AuthMode, keyID uint32, bits, attempts, cookies uint16) []byte {
	p := make([]byte, 24)
	binary.BigEndian.PutUint16(p[0:], uint16(mode))
	binary.BigEndian.PutUint32(p[4:], keyID)
	binary.BigEndian.PutUint16(p[8:], bits)
	binary.BigEndian.PutUint16(p[10:], attempts)
	binary.BigEndian.PutUint16(p[16:], cookies)
	return p
}

// fastClient is a client that gives up soon.
func fastClient(t *testing.T, dir string) *Client {
	c := NewClient(filepath.Join(dir, "chronyd.sock"), filepath.Join(dir, "monitor.sock"))
	c.timeout = 200 * time.Millisecond
	t.Cleanup(func() { c.Close() })
	return c
}

// remove deletes a file that is there.
func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
