package chrony

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	fbchrony "github.com/facebook/time/ntp/chrony"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// The tests of this file run the distribution's chronyd, always with -x, on loopback.

// patience bounds every wait on a real chronyd; a loaded machine needs some of it.
const patience = 30 * time.Second

// chronyd is a running chronyd and what it logged.
type chronyd struct {
	cmd *exec.Cmd
	log *syncBuffer
}

// syncBuffer is a buffer that a child's output and a test's failure message share.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// chronydPath fails the test, with the remedy, where there is no chronyd.
func chronydPath(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"chronyd", "/usr/sbin/chronyd"} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	t.Fatal("chronyd is not installed: run `make test`, or `apt-get install chrony`")
	return ""
}

// privateDir makes a directory that chronyd's user owns, and returns it with the user's name. Unless
// the test runs as root, chronyd runs as the user of the test.
func privateDir(t *testing.T) (dir, account string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "chrony") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		for _, name := range []string{"_chrony", "chrony", "nobody"} {
			if u, err = user.Lookup(name); err == nil {
				break
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	return dir, u.Username
}

// startChronyd starts a chronyd as argv says, as the user that it names and without a capability, as
// a supervisor would. It is killed at the end of the test.
func startChronyd(t *testing.T, c Config) *chronyd {
	t.Helper()
	argv := Argv(c)
	d := &chronyd{cmd: exec.Command(argv[0], argv[1:]...), log: &syncBuffer{}}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		u, err := user.Lookup(c.User)
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		d.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", c.Dir, d.log)
		}
	})
	return d
}

func (d *chronyd) kill() {
	if d.cmd.ProcessState == nil {
		_ = d.cmd.Process.Kill() // it may have ended by itself
		_ = d.cmd.Wait()         // killed, by us
	}
}

// realConfig is a rendered configuration in a new private directory.
func realConfig(t *testing.T, servers ...Server) Config {
	t.Helper()
	c := Config{Binary: chronydPath(t), Servers: servers}
	c.Dir, c.User = privateDir(t)
	return c
}

func writeConfig(t *testing.T, c Config, text string) {
	t.Helper()
	if err := os.WriteFile(c.ConfigFile(), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startClient starts the measuring engine as this package renders it.
func startClient(t *testing.T, c Config) *chronyd {
	t.Helper()
	text, err := Render(c)
	if err != nil {
		t.Fatal(err)
	}
	writeConfig(t, c, text)
	d := startChronyd(t, c)
	startFeed(t, c.FeedSocket(), nil)
	return d
}

// startServer starts an NTP server on a loopback port whose notion of time is lie ahead of the
// system clock.
func startServer(t *testing.T, address string, lie time.Duration, extra ...string) (*chronyd, int) {
	t.Helper()
	c := realConfig(t)
	port := freePort(t, address)
	writeConfig(t, c, strings.Join(append([]string{
		"port " + strconv.Itoa(port), "bindaddress " + address, "allow",
		"refclock SOCK " + c.FeedSocket() + " poll -2 filter 1 refid TEST",
		"bindcmdaddress " + c.CommandSocket(), "cmdport 0", "pidfile " + c.PIDFile(),
	}, extra...), "\n")+"\n")
	d := startChronyd(t, c)
	startFeed(t, c.FeedSocket(), func() time.Duration { return lie })
	return d, port
}

func startFeed(t *testing.T, path string, offset func() time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = NewFeed(path, offset, slog.New(slog.DiscardHandler)).Run(ctx) // ends with ctx alone
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func freePort(t *testing.T, address string) int {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

// shiftedClock is a HostClock on which L is CLOCK_REALTIME plus a constant.
type shiftedClock time.Duration

func (s shiftedClock) Now() timescale.Instant {
	return timescale.Instant(time.Now().UnixNano()).Add(time.Duration(s))
}

func (s shiftedClock) Local(realtimeNS int64) (timescale.Instant, error) {
	return timescale.Instant(realtimeNS).Add(time.Duration(s)), nil
}

// collector polls a Monitor and keeps everything.
type collector struct {
	monitor *Monitor
	samples map[sources.ID][]sources.Sample
	reports map[sources.ID]sources.Report
}

func newCollector(t *testing.T, c Config, clock HostClock) *collector {
	m := NewMonitor(c, clock, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
	t.Cleanup(func() { m.client.Close() })
	return &collector{monitor: m, samples: map[sources.ID][]sources.Sample{}, reports: map[sources.ID]sources.Report{}}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

var _ io.Writer = testWriter{}

// until polls until done reports true; what names it in the failure.
func (c *collector) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		u := c.monitor.Poll(t.Context())
		for _, s := range u.Samples {
			c.samples[s.Source] = append(c.samples[s.Source], s)
		}
		for _, r := range u.Reports {
			c.reports[r.Source] = r
		}
		if done() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s\nreports: %+v\nsamples: %+v", patience, what, c.reports, c.samples)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func ptr[T any](v T) *T { return &v }

// testServer polls a loopback server four times a second.
func testServer(address string, port int) Server {
	return Server{Address: address, Port: port, MinPoll: ptr(-2), MaxPoll: ptr(-2), IBurst: true, XLeave: true}
}

// offsetsWithin reports whether there are n samples and the median of their offsets is within tol of want.
func offsetsWithin(samples []sources.Sample, n int, want, tol time.Duration) bool {
	if len(samples) < n {
		return false
	}
	tail := slices.Clone(samples[len(samples)-n:])
	slices.SortFunc(tail, func(a, b sources.Sample) int { return int(a.Offset - b.Offset) })
	return (tail[n/2].Offset - want).Abs() <= tol
}

// An honest server is measured at 0, a server that is 15 ms ahead at +15 ms: source - local. L runs
// an hour from the system clock here, so that a mapping left out would not go unseen. Then the
// liar dies, and the other goes on.
func TestRealServersAreMeasuredWithTheRightSign(t *testing.T) {
	t.Parallel()
	const shift = time.Hour
	_, honest := startServer(t, "127.0.0.2", 0)
	liar, lying := startServer(t, "127.0.0.3", 15*time.Millisecond)
	c := realConfig(t, testServer("127.0.0.2", honest), testServer("127.0.0.3", lying))
	startClient(t, c)
	got := newCollector(t, c, shiftedClock(shift))

	const tol = 500 * time.Microsecond // loopback on a loaded machine; the lie is thirty times that
	got.until(t, "both servers measured", func() bool {
		return offsetsWithin(got.samples["ntp:127.0.0.2"], 5, -shift, tol) &&
			offsetsWithin(got.samples["ntp:127.0.0.3"], 5, -shift+15*time.Millisecond, tol)
	})
	for _, id := range []sources.ID{"ntp:127.0.0.2", "ntp:127.0.0.3"} {
		checkRealSample(t, got.samples[id])
		if r := got.reports[id]; r.Condition != sources.Measuring || r.Reach.Or(0) == 0 || !r.Quality.Stratum.Is(1) {
			t.Errorf("%s: report %+v, want Measuring, reached, stratum 1", id, r)
		}
	}

	liar.kill()
	before := len(got.samples["ntp:127.0.0.2"])
	got.until(t, "dead server unreachable", func() bool { return got.reports["ntp:127.0.0.3"].Condition == sources.Unreachable })
	if r := got.reports["ntp:127.0.0.3"]; !r.Reach.Is(0) || !strings.Contains(r.Detail, "no reply") {
		t.Errorf("dead server: report %+v, want reach 0 and no reply", r)
	}
	if len(got.samples["ntp:127.0.0.2"]) <= before || got.reports["ntp:127.0.0.2"].Condition != sources.Measuring {
		t.Errorf("the other server did not go on: %+v", got.reports["ntp:127.0.0.2"])
	}
}

// checkRealSample pins what of a sample chronyd must have given, that no sample came twice, and that
// the root values are the server's own: its refclock has a root dispersion of about a microsecond,
// while the peer's part is counted in Delay.
func checkRealSample(t *testing.T, samples []sources.Sample) {
	t.Helper()
	for i, s := range samples {
		if i > 0 && !s.At.After(samples[i-1].At) {
			t.Errorf("sample %d is at %d, not after %d", i, s.At, samples[i-1].At)
		}
	}
	s := samples[len(samples)-1]
	if age := shiftedClock(time.Hour).Now().Sub(s.At); age < 0 || age > 10*time.Second {
		t.Errorf("sample is %s old", age)
	}
	if d, ok := s.Delay.Get(); !ok || d <= 0 || d > 50*time.Millisecond {
		t.Errorf("delay %s", s.Delay)
	}
	if s.Dispersion <= 0 || s.Dispersion > 10*time.Millisecond {
		t.Errorf("dispersion %s", s.Dispersion)
	}
	if d, ok := s.Quality.RootDelay.Get(); !ok || d > 20*time.Microsecond {
		t.Errorf("root delay of the server %s, want about 0: its reference is a socket", s.Quality.RootDelay)
	}
	if !s.Quality.Stratum.Is(1) || !s.Quality.Leap.Is(sources.LeapNone) || s.Quality.Reference != "TEST" || !s.Quality.Authenticated.Is(false) {
		t.Errorf("quality %+v", s.Quality)
	}
}

// With the rendered configuration chronyd's clock is CLOCK_REALTIME, exactly, and it is synchronised
// to the feed; the dump's root values are sums that hold the peer's part.
func TestRealChronydClockIsTheSystemClock(t *testing.T) {
	t.Parallel()
	_, port := startServer(t, "127.0.0.4", 20*time.Millisecond)
	c := realConfig(t, testServer("127.0.0.4", port))
	startClient(t, c)
	got := newCollector(t, c, shiftedClock(0))
	got.until(t, "samples and a reference", func() bool {
		tracking, err := got.monitor.client.Tracking(t.Context())
		return err == nil && tracking.LeapStatus == 0 && len(got.samples["ntp:127.0.0.4"]) >= 8
	})
	tracking, err := got.monitor.client.Tracking(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tracking.CurrentCorrection != 0 || tracking.FreqPPM != 0 || tracking.Stratum != DefaultStratum {
		t.Errorf("tracking %+v, want correction 0, frequency 0, stratum %d", tracking, DefaultStratum)
	}
	checkOwnVerdicts(t, got.monitor.client)
	dump, err := readDump(c.DumpDir(), netip.MustParseAddr("127.0.0.4"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range dump.Samples {
		if s.RootDelay < s.PeerDelay || s.RootDispersion < s.PeerDispersion {
			t.Errorf("sample %+v: root without peer", s)
		}
	}
}

// checkOwnVerdicts pins that chronyd itself sees the server as one never to be selected.
func checkOwnVerdicts(t *testing.T, c *Client) {
	t.Helper()
	list, err := c.Sources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range list {
		selection, err := c.SelectData(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if noselect := selection.EFFOptions&fbchrony.FlagSDOptionNoSelect != 0; noselect == s.Refclock {
			t.Errorf("%s: refclock %v, noselect %v", s.Address, s.Refclock, noselect)
		}
		stats, err := c.SourceStats(t.Context(), i)
		if err != nil || stats.NSamples == 0 {
			t.Errorf("%s: sourcestats %+v, %v", s.Address, stats, err)
		}
	}
}

// chronyd reads everything that Render can write.
func TestRealChronydAcceptsEveryGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatal("no goldens", err)
	}
	for _, file := range files {
		if out, err := exec.Command(chronydPath(t), "-x", "-U", "-p", "-f", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// NTS authenticates; a server whose certificate is not trusted is told from one that is silent.
func TestRealNTS(t *testing.T) {
	t.Parallel()
	dir, _ := privateDir(t)
	cert, key := writeCertificate(t, dir, "127.0.0.9")
	nts := freeTCPPort(t, "127.0.0.9")
	_, port := startServer(t, "127.0.0.9", 0, "ntsservercert "+cert, "ntsserverkey "+key, "ntsport "+strconv.Itoa(nts))
	s := testServer("127.0.0.9", port)
	s.NTS, s.Options = true, []string{"ntsport " + strconv.Itoa(nts)}
	trusting, distrusting := realConfig(t, s), realConfig(t, s)
	trusting.Extra = []string{"nosystemcert", "ntstrustedcerts " + cert}
	startClient(t, trusting)
	startClient(t, distrusting)
	const id = "ntp:127.0.0.9"

	got := newCollector(t, trusting, shiftedClock(0))
	got.until(t, "authenticated samples", func() bool { return len(got.samples[id]) >= 2 })
	if !got.samples[id][0].Quality.Authenticated.Is(true) {
		t.Errorf("quality %+v, want authenticated", got.samples[id][0].Quality)
	}
	got = newCollector(t, distrusting, shiftedClock(0))
	got.until(t, "no keys", func() bool {
		r := got.reports[id]
		return r.Condition == sources.Unsynchronised && strings.HasPrefix(r.Detail, "NTS keys are not established")
	})
	if n := len(got.samples[id]); n != 0 {
		t.Errorf("%d samples without keys", n)
	}
}

// writeCertificate makes a self-signed certificate for an address, readable by chronyd's user.
func writeCertificate(t *testing.T, dir, address string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(address)}, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func freeTCPPort(t *testing.T, address string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A symmetric key is seen as authentication; a key that is missing in the key file as a source that
// cannot be used.
func TestRealAuthentication(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "chrony.keys")
	if err := os.WriteFile(keys, []byte("7 SHA1 HEX:00112233445566778899AABBCCDDEEFF00112233\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	openPath(t, keys)
	_, port := startServer(t, "127.0.0.5", 0, "keyfile "+keys)
	good, bad := testServer("127.0.0.5", port), testServer("127.0.0.6", port)
	good.Key, bad.Key = ptr(uint32(7)), ptr(uint32(8))
	c := realConfig(t, good, bad)
	c.KeyFile = keys
	startClient(t, c)
	got := newCollector(t, c, shiftedClock(0))
	got.until(t, "authenticated samples", func() bool { return len(got.samples["ntp:127.0.0.5"]) >= 2 })
	if !got.samples["ntp:127.0.0.5"][0].Quality.Authenticated.Is(true) {
		t.Errorf("quality %+v, want authenticated", got.samples["ntp:127.0.0.5"][0].Quality)
	}
	auth, err := got.monitor.client.AuthData(t.Context(), Address{IP: netip.MustParseAddr("127.0.0.5")})
	if err != nil || auth.Mode != AuthSymmetric || auth.KeyID != 7 || auth.KeyBits != 160 {
		t.Errorf("authdata %+v, %v", auth, err)
	}
	if r := got.reports["ntp:127.0.0.6"]; r.Condition != sources.Unsynchronised || !strings.Contains(r.Detail, "key 8") {
		t.Errorf("missing key: report %+v", r)
	}
}

// openPath lets any user search the directories of a test's file.
func openPath(t *testing.T, path string) {
	t.Helper()
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// A server that answers and is not synchronised is not Unreachable, although chronyd's reachability
// register stays 0.
func TestRealUnsynchronisedServer(t *testing.T) {
	t.Parallel()
	s := realConfig(t)
	port := freePort(t, "127.0.0.7")
	writeConfig(t, s, fmt.Sprintf("port %d\nbindaddress 127.0.0.7\nallow\nbindcmdaddress %s\ncmdport 0\npidfile %s\n", port, s.CommandSocket(), s.PIDFile()))
	startChronyd(t, s)
	c := realConfig(t, testServer("127.0.0.7", port))
	startClient(t, c)
	got := newCollector(t, c, shiftedClock(0))
	got.until(t, "unsynchronised", func() bool { return got.reports["ntp:127.0.0.7"].Condition == sources.Unsynchronised })
	if r := got.reports["ntp:127.0.0.7"]; !strings.Contains(r.Detail, "leap indicator 3") {
		t.Errorf("report %+v, want the leap indicator", r)
	}
}

// A chronyd that is killed and started again is met again by monitor and feed, and no sample comes
// twice.
func TestRealRestart(t *testing.T) {
	t.Parallel()
	_, port := startServer(t, "127.0.0.8", 0)
	c := realConfig(t, testServer("127.0.0.8", port))
	d := startClient(t, c)
	got := newCollector(t, c, shiftedClock(time.Hour))
	id := sources.ID("ntp:127.0.0.8")
	got.until(t, "samples", func() bool { return len(got.samples[id]) >= 3 })
	d.kill()
	got.until(t, "unreachable", func() bool { return got.reports[id].Condition == sources.Unreachable })
	before := len(got.samples[id])
	startChronyd(t, c)
	got.until(t, "samples after the restart", func() bool {
		return len(got.samples[id]) >= before+3 && got.reports[id].Condition == sources.Measuring
	})
	checkRealSample(t, got.samples[id])
	if err := got.monitor.client.Offline(t.Context(), Address{}); err != nil {
		t.Error(err)
	}
	activity, err := got.monitor.client.Activity(t.Context())
	if err != nil || activity.Online+activity.BurstOnline != 0 || activity.Offline+activity.BurstOffline != 1 {
		t.Errorf("activity %+v, %v, want one source offline", activity, err)
	}
	for name, command := range map[string]func(context.Context, Address) error{
		"online": got.monitor.client.Online,
		"burst":  func(ctx context.Context, a Address) error { return got.monitor.client.Burst(ctx, a, 1, 2) },
	} {
		if err := command(t.Context(), Address{IP: netip.MustParseAddr("127.0.0.8")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := got.monitor.client.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	if err := got.monitor.client.Online(t.Context(), Address{IP: netip.MustParseAddr("192.0.2.1")}); !isVanished(err) {
		t.Errorf("online of an unknown address: %v, want no such source", err)
	}
}
