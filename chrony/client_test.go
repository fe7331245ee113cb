package chrony

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	fbchrony "github.com/facebook/time/ntp/chrony"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"clockarbiter/integration/frugal"
)

var address1 = Address{IP: netip.MustParseAddr("192.0.2.1")}

// The request is the one that chronyd's candm.h describes, byte by byte.
func TestRequests(t *testing.T) {
	v4 := "c0000201" + strings.Repeat("00", 12) + "0001" + "0000"
	v6 := "20010db8" + strings.Repeat("00", 11) + "01" + "0002" + "0000"
	for name, test := range map[string]struct {
		send func(*Client) error
		cmd  command
		body string
	}{
		"dump":    {func(c *Client) error { return c.Dump(t.Context()) }, 6, ""},
		"refresh": {func(c *Client) error { return c.Refresh(t.Context()) }, 53, ""},
		"online one": {func(c *Client) error { return c.Online(t.Context(), address1) }, 1,
			"ffffffff" + strings.Repeat("00", 12) + "0001" + "0000" + v4},
		"offline all": {func(c *Client) error { return c.Offline(t.Context(), Address{}) }, 2, strings.Repeat("00", 40)},
		"burst IPv6": {func(c *Client) error {
			return c.Burst(t.Context(), Address{IP: netip.MustParseAddr("2001:db8::1")}, 2, 4)
		}, 3, strings.Repeat("ff", 16) + "0002" + "0000" + v6 + "00000002" + "00000004"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := shortDir(t)
			bodies := make(chan []byte, 8)
			startFake(t, filepath.Join(dir, "chronyd.sock"), func(cmd command, seq uint32, body []byte) [][]byte {
				if cmd == test.cmd {
					bodies <- bytes.Clone(body)
				}
				return [][]byte{reply(cmd, seq, 1, 0, nil)}
			})
			if err := test.send(fastClient(t, dir)); err != nil {
				t.Fatal(err)
			}
			got := <-bodies
			want := strings.TrimRight(test.body, "0") // the rest of the frame is padding
			if hex := strings.TrimRight(hexOf(got), "0"); hex != want || len(got) != requestLen-requestHeadLen {
				t.Errorf("body of %d bytes\n%s, want\n%s", len(got), hex, want)
			}
		})
	}
}

func hexOf(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteString(string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]))
	}
	return s.String()
}

// Both formats of ntpdata give the same; the library drops the count of good packets and shifts the
// counters of the newer format by it.
func TestNTPDataOfEveryVersion(t *testing.T) {
	for _, kind := range []uint16{16, 26} {
		dir := shortDir(t)
		startFake(t, filepath.Join(dir, "chronyd.sock"), fakeState{sources: []fakeSource{{address: address1, name: "a", ntpType: kind,
			ntp: ntpBody(1, 2, 0x7f000001, 0x3ff, 11, 10, 9, 8)}}}.answer)
		got, err := fastClient(t, dir).NTPData(t.Context(), address1)
		if err != nil {
			t.Fatal(err)
		}
		want := NTPData{Leap: 1, Stratum: 2, RootDelay: 60, RefID: 0x7f000001, Tests: 0x3ff, Sent: 11, Received: 10, Valid: 9, Good: 8}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reply type %d (-want +got):\n%s", kind, diff)
		}
	}
}

func TestAuthDataAndNames(t *testing.T) {
	dir := shortDir(t)
	startFake(t, filepath.Join(dir, "chronyd.sock"), fakeState{sources: []fakeSource{{address: address1, name: "ntp.example.net",
		auth: authBody(AuthNTS, 3, 256, 2, 8)}}}.answer)
	c := fastClient(t, dir)
	got, err := c.AuthData(t.Context(), address1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(AuthData{Mode: AuthNTS, KeyID: 3, KeyBits: 256, Attempts: 2, Cookies: 8}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if name, err := c.SourceName(t.Context(), address1); err != nil || name != "ntp.example.net" {
		t.Errorf("name %q, %v", name, err)
	}
	if _, err := c.SourceName(t.Context(), Address{ID: 5}); !isVanished(err) {
		t.Errorf("unknown source: %v, want no such source", err)
	}
}

// What answers something else is passed over: a late answer, another command's, noise.
func TestRepliesAreMatched(t *testing.T) {
	dir := shortDir(t)
	startFake(t, filepath.Join(dir, "chronyd.sock"), func(cmd command, seq uint32, _ []byte) [][]byte {
		request := encodeRequest(cmd, seq, nil)
		return [][]byte{
			reply(cmd, seq-1, 2, 0, []byte{0, 0, 0, 99}),
			reply(cmdTracking, seq, 2, 0, []byte{0, 0, 0, 98}),
			[]byte("noise"), {}, request,
			reply(cmd, seq, 2, 0, []byte{0, 0, 0, 0}),
		}
	})
	list, err := fastClient(t, dir).Sources(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("%v, %v, want no sources", list, err)
	}
}

func TestBadRepliesAreErrors(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(command, uint32, []byte) [][]byte
		want   error
		text   string
	}{
		"silence": {func(command, uint32, []byte) [][]byte { return nil }, os.ErrDeadlineExceeded, "chronyd ntpdata"},
		"garbage": {func(command, uint32, []byte) [][]byte {
			return [][]byte{[]byte("garbage, more than a header's worth of it")}
		}, os.ErrDeadlineExceeded, "timeout"},
		"truncated reply": {func(c command, s uint32, _ []byte) [][]byte { return [][]byte{reply(c, s, 16, 0, make([]byte, 50))} }, nil, "unexpected EOF"},
		"truncated head":  {func(c command, s uint32, _ []byte) [][]byte { return [][]byte{reply(c, s, 16, 0, nil)[:20]} }, os.ErrDeadlineExceeded, "timeout"},
		"wrong format":    {func(c command, s uint32, _ []byte) [][]byte { return [][]byte{reply(c, s, 2, 0, make([]byte, 200))} }, nil, "reply type 2"},
		"unknown format":  {func(c command, s uint32, _ []byte) [][]byte { return [][]byte{reply(c, s, 999, 0, make([]byte, 200))} }, nil, "999"},
		"refusal":         {func(c command, s uint32, _ []byte) [][]byte { return [][]byte{reply(c, s, 1, 2, nil)} }, &StatusError{"ntpdata", StatusUnauthorised}, "UNAUTH"},
		"other protocol": {func(c command, s uint32, _ []byte) [][]byte {
			p := reply(c, s, 1, 18, nil)
			p[0] = 7
			return [][]byte{p}
		}, nil, "version 7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			startFake(t, filepath.Join(dir, "chronyd.sock"), test.answer)
			_, err := fastClient(t, dir).NTPData(t.Context(), address1)
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v, want one with %q", err, test.text)
			}
			var refused *StatusError
			if errors.As(test.want, &refused) {
				if !errors.As(err, &refused) || *refused != (StatusError{"ntpdata", StatusUnauthorised}) {
					t.Errorf("error %v", err)
				}
			} else if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

// A refusal is an answer and is not asked for again; silence is, once.
func TestRetries(t *testing.T) {
	dir := shortDir(t)
	f := startFake(t, filepath.Join(dir, "chronyd.sock"), func(c command, s uint32, _ []byte) [][]byte {
		return [][]byte{reply(c, s, 1, 1, nil)}
	})
	c := fastClient(t, dir)
	if err := c.Dump(t.Context()); err == nil {
		t.Error("refusal is no error")
	}
	if n := f.asked(cmdDump); n != 1 {
		t.Errorf("refused dump asked %d times", n)
	}
	f.set(func(command, uint32, []byte) [][]byte { return nil })
	if err := c.Dump(t.Context()); err == nil {
		t.Error("silence is no error")
	}
	if n := f.asked(cmdDump); n != 3 {
		t.Errorf("silent dump asked %d times, want 2", n-1)
	}
}

func TestClientDialsAgain(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "chronyd.sock")
	c := fastClient(t, dir)
	if err := c.Dump(t.Context()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no chronyd: %v, want no such file", err)
	}
	if left, err := os.Lstat(c.local); err == nil {
		t.Errorf("left behind: %v", left.Name())
	}
	first := startFake(t, path, fakeState{}.answer)
	if err := c.Dump(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(c.local)
	if err != nil || info.Mode().Perm() != 0o666 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("own socket: %v, %v, want one that chronyd's user may write to", info, err)
	}
	first.conn.Close()
	remove(t, path)
	if err := c.Dump(t.Context()); err == nil {
		t.Error("dead chronyd answered")
	}
	startFake(t, path, fakeState{}.answer)
	if err := c.Dump(t.Context()); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(c.local); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket is left: %v", err)
	}
}

// The end of a context ends a wait at once.
func TestClientObeysContext(t *testing.T) {
	dir := shortDir(t)
	startFake(t, filepath.Join(dir, "chronyd.sock"), func(command, uint32, []byte) [][]byte { return nil })
	c := fastClient(t, dir)
	c.timeout = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := c.Dump(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func TestAddressesSurviveTheWire(t *testing.T) {
	for _, a := range []Address{address1, {IP: netip.MustParseAddr("2001:db8::1")}, {ID: 77}, {}} {
		var raw fbchrony.IPAddr
		if _, err := binary.Decode(a.encode(), binary.BigEndian, &raw); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, decodeAddress(raw), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", a, diff)
		}
	}
}

// Whatever chronyd, or what took its place, sends: an error or a value, never a panic.
func FuzzReply(f *testing.F) {
	const seq = 7
	f.Add(uint16(cmdNTPData), reply(cmdNTPData, seq, 16, 0, ntpBody(0, 1, 0, 0x3ff, 1, 1, 1, 1)))
	f.Add(uint16(cmdNTPData), reply(cmdNTPData, seq, 26, 0, make([]byte, 140)))
	f.Add(uint16(cmdAuthData), reply(cmdAuthData, seq, 20, 0, authBody(AuthNTS, 1, 256, 1, 8)))
	f.Add(uint16(cmdSourceData), reply(cmdSourceData, seq, 3, 0, fakeSource{address: address1}.data()))
	f.Add(uint16(cmdTracking), reply(cmdTracking, seq, 5, 0, make([]byte, 76)))
	f.Add(uint16(cmdSourceName), reply(cmdSourceName, seq, 19, 0, make([]byte, 256)))
	f.Fuzz(func(t *testing.T, cmd uint16, p []byte) {
		frugal.Parse(t, len(p), func() {
			if err := checkReply(p, command(cmd), seq); err != nil {
				return
			}
			replyType(p)
			_, _ = decodeSource(p)
			_, _ = decodeNTPData(p)
			_, _ = decodeAuthData(p)
			_, _ = decode[*fbchrony.ReplySources](p)
			_, _ = decode[*fbchrony.ReplyTracking](p)
			_, _ = decode[*fbchrony.ReplyNTPSourceName](p)
			_, _ = decode[*fbchrony.ReplySelectData](p)
		})
	})
}
