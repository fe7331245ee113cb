package ptp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// insideEnv marks the re-execution of the test binary in namespaces of its own.
const insideEnv = "CLOCKARBITER_PTP_NAMESPACES"

// coverEnv names the file for what that run covers, which the outer one does not see; for make cover.
const coverEnv = "CLOCKARBITER_COVER_INSIDE"

// TestReal runs the package against real ptp4l grandmasters over veth pairs. It runs the test binary
// again in private network, mount and process namespaces: whatever happens inside, nothing is left
// behind, and nothing inside reaches a network.
func TestReal(t *testing.T) {
	if os.Getenv(insideEnv) == "" {
		runInside(t)
		return
	}
	isolate(t)
	t.Run("offset is unbiased", func(t *testing.T) {
		for _, c := range []struct {
			name string
			ppm  int64
			Settings
		}{
			{"udpv4 e2e 50 ppm", 50, Settings{Transport: "UDPv4", DelayMechanism: "E2E", Domain: 24}},
			{"udpv4 e2e 500 ppm", 500, Settings{Transport: "UDPv4", DelayMechanism: "E2E"}},
			{"udpv6 e2e -500 ppm", -500, Settings{Transport: "UDPv6", DelayMechanism: "E2E"}},
			{"l2 p2p 500 ppm", 500, Settings{Transport: "L2", DelayMechanism: "P2P"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				testUnbiased(t, c.Settings, c.ppm)
			})
		}
	})
	t.Run("conditions", func(t *testing.T) {
		t.Run("engine and grandmaster come and go", func(t *testing.T) { t.Parallel(); testComeAndGo(t) })
		t.Run("TAI needs a valid UTC offset", func(t *testing.T) { t.Parallel(); testTAI(t) })
		t.Run("probe", func(t *testing.T) { t.Parallel(); testProbe(t) })
	})
}

func runInside(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("real ptp4l needs network namespaces: run the tests as root")
	}
	for program, pkg := range map[string]string{"ptp4l": "linuxptp", "pmc": "linuxptp", "ip": "iproute2", "setpriv": "util-linux"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: install it with `apt-get install %s`", err, pkg)
		}
	}
	args := []string{"-test.run=^TestReal$", "-test.timeout=120s", "-test.parallel=8"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	if profile := os.Getenv(coverEnv); profile != "" {
		args = append(args, "-test.coverprofile="+profile)
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	t.Logf("inside the namespaces:\n%s", out)
	if err != nil {
		t.Fatalf("inside the namespaces: %v", err)
	}
}

// isolate keeps the named network namespaces of this test in a /run of its own.
func isolate(t *testing.T) {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal("make mounts private:", err)
	}
	if err := unix.Mount("none", "/run", "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal("mount /run:", err)
	}
	ip(t, "link set lo up")
}

func ip(t *testing.T, words string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", words, err, out)
	}
}

// link is a veth pair between two namespaces: the grandmaster's and the client's.
type link struct {
	t         *testing.T
	gm, local string // namespaces
	iface     string // the client's interface; the grandmaster's is called gm0
	dir       string
	cfg       Config
}

var links struct {
	sync.Mutex
	n int
}

func newLink(t *testing.T, s Settings) *link {
	t.Helper()
	links.Lock()
	links.n++
	n := links.n
	links.Unlock()
	l := &link{t: t, gm: fmt.Sprintf("gm%d", n), local: fmt.Sprintf("cl%d", n), iface: fmt.Sprintf("ptp%d", n)}
	l.dir = filepath.Join("/run", l.local)
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(l.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	ip(t, "netns add "+l.gm)
	ip(t, "netns add "+l.local)
	ip(t, fmt.Sprintf("link add %s netns %s type veth peer name gm0 netns %s", l.iface, l.local, l.gm))
	for i, end := range []struct{ ns, iface string }{{l.gm, "gm0"}, {l.local, l.iface}} {
		ip(t, fmt.Sprintf("-n %s addr add 192.0.2.%d/24 dev %s", end.ns, i+1, end.iface))
		ip(t, fmt.Sprintf("-n %s addr add 2001:db8::%d/64 dev %s nodad", end.ns, i+1, end.iface))
		ip(t, fmt.Sprintf("-n %s link set %s addrgenmode none", end.ns, end.iface))
		ip(t, fmt.Sprintf("-n %s addr add fe80::%d/64 dev %s nodad", end.ns, i+1, end.iface))
		ip(t, fmt.Sprintf("-n %s link set %s up", end.ns, end.iface))
	}
	release, err := Version(t.Context(), "ptp4l")
	if err != nil {
		t.Fatal(err)
	}
	l.cfg = Config{Binary: "ptp4l", Version: release, Dir: l.dir, Interfaces: []string{l.iface}, Mode: Software, Settings: s}
	return l
}

const nobody = 65534

// child is a started ptp4l.
type child struct {
	cmd *exec.Cmd
	out *lockedBuffer
}

type lockedBuffer struct {
	sync.Mutex
	b bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) { l.Lock(); defer l.Unlock(); return l.b.Write(p) }
func (l *lockedBuffer) String() string              { l.Lock(); defer l.Unlock(); return l.b.String() }

func start(t *testing.T, ns string, argv ...string) *child {
	t.Helper()
	c := &child{out: &lockedBuffer{}}
	c.cmd = exec.Command("ip", append([]string{"netns", "exec", ns}, argv...)...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.stop()
		if t.Failed() {
			t.Logf("%s in %s said:\n%s", argv[0], ns, c.out)
		}
	})
	return c
}

func (c *child) stop() {
	_ = c.cmd.Process.Kill() // it may have ended
	_ = c.cmd.Wait()         // killed
}

// startGrandmaster serves CLOCK_REALTIME at 8 Sync per second. It steers nothing.
func (l *link) startGrandmaster() *child {
	l.t.Helper()
	conf := filepath.Join("/run", l.gm+".conf")
	text := fmt.Sprintf(`[global]
free_running 1
kernel_leap 0
time_stamping software
domainNumber %d
network_transport %s
delay_mechanism %s
logAnnounceInterval -2
logSyncInterval -3
logMinDelayReqInterval -3
logMinPdelayReqInterval -2
tx_timestamp_timeout 50
uds_address /run/%s.sock
[gm0]
`, l.cfg.Domain, l.cfg.Transport, l.cfg.DelayMechanism, l.gm)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return start(l.t, l.gm, "ptp4l", "-f", conf, "-m", "-q")
}

// startEngine starts ptp4l exactly as rendered: as nobody, with the capabilities that
// LinuxCapabilities names and no other in its bounding set.
func (l *link) startEngine() *child {
	l.t.Helper()
	conf, err := Render(l.cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.cfg.ConfigPath(), []byte(conf), 0o644); err != nil {
		l.t.Fatal(err)
	}
	caps := "-all"
	for _, c := range LinuxCapabilities(l.cfg) {
		caps += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	argv := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		"--inh-caps=" + caps, "--ambient-caps=" + caps, "--bounding-set=" + caps, "--no-new-privs"}
	return start(l.t, l.local, append(argv, Argv(l.cfg)...)...)
}

// quick makes the client hear the fast grandmaster soon.
func quick(s Settings) Settings {
	s.Options = map[string]string{"logAnnounceInterval": "-2", "logMinPdelayReqInterval": "-2", "logSyncInterval": "-3"}
	return s
}

// skewedHost is a HostClock whose L runs ppm fast against CLOCK_REALTIME, so that the truth about a
// grandmaster that serves CLOCK_REALTIME is known exactly.
type skewedHost struct{ start, ppm int64 }

func (h skewedHost) Now() timescale.Instant {
	at, _ := h.Local(time.Now().UnixNano()) // never fails
	return at
}

func (h skewedHost) Local(realtimeNS int64) (timescale.Instant, error) {
	d := realtimeNS - h.start
	return timescale.Instant(realtimeNS + d*h.ppm/1_000_000), nil
}

func (h skewedHost) FromMonotonicRaw(int64) timescale.Instant { panic("not with software timestamps") }

// truth is CLOCK_REALTIME - L at an instant.
func (h skewedHost) truth(at timescale.Instant) time.Duration {
	local := float64(int64(at) - h.start)
	return time.Duration(-local * float64(h.ppm) / float64(1_000_000+h.ppm))
}

// watch collects what a monitor says.
type watch struct {
	mu      sync.Mutex
	samples []sources.Sample
	report  sources.Report
}

func (l *link) watch(h HostClock) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	out, done, w := make(chan sources.Update), make(chan error, 1), &watch{}
	m := NewMonitor(l.cfg, h, Options{Poll: 250 * time.Millisecond}, slog.New(slog.DiscardHandler))
	go func() { done <- m.Run(ctx, out) }()
	go func() {
		for {
			select {
			case u := <-out:
				w.take(u)
			case <-ctx.Done():
				return
			}
		}
	}()
	l.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("monitor ended with %v", err)
		}
	})
	return w
}

func (w *watch) take(u sources.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples = append(w.samples, u.Samples...)
	for _, r := range u.Reports {
		w.report = r
	}
}

func (w *watch) get() ([]sources.Sample, sources.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.samples), w.report
}

// until waits for a condition on what was seen, and fails with the last report.
func (w *watch) until(t *testing.T, what string, ok func([]sources.Sample, sources.Report) bool) ([]sources.Sample, sources.Report) {
	t.Helper()
	deadline := time.Now().Add(25 * time.Second)
	for {
		samples, report := w.get()
		if ok(samples, report) {
			return samples, report
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s: %d samples, last report %d %q", what, len(samples), report.Condition, report.Detail)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func testUnbiased(t *testing.T, s Settings, ppm int64) {
	l := newLink(t, quick(s))
	l.startGrandmaster()
	h := skewedHost{start: time.Now().UnixNano(), ppm: ppm}
	w := l.watch(h)
	l.startEngine()
	samples, report := w.until(t, "120 samples", func(s []sources.Sample, _ sources.Report) bool { return len(s) >= 120 })
	if report.Condition != sources.Measuring {
		t.Errorf("condition %d %q, want Measuring", report.Condition, report.Detail)
	}
	errors := make([]float64, 0, len(samples))
	for _, s := range samples {
		e := s.Offset - h.truth(s.At)
		errors = append(errors, float64(e))
		if bound := s.Delay.Or(0)/2 + s.Dispersion; e.Abs() > bound {
			t.Errorf("sample %v off by %v, beyond half its delay and dispersion, %v", s.At, e, bound)
		}
		if s.Source != SourceID(l.iface, l.cfg.Domain) {
			t.Errorf("source %q", s.Source)
		}
	}
	first := errors[0]
	bias := median(errors) // sorts
	t.Logf("%d ppm: median error %.0f ns over %d samples, extremes %.0f and %.0f ns, first %.0f ns; delay %v",
		ppm, bias, len(errors), errors[0], errors[len(errors)-1], first, samples[len(samples)-1].Delay)
	limit := 1000.0
	if s.DelayMechanism == "P2P" {
		limit += float64(stampsOf(Software).peerError)
	}
	if bias < -limit || bias > limit {
		t.Errorf("offset is biased by %.0f ns, limit %.0f ns", bias, limit)
	}
}

func testComeAndGo(t *testing.T) {
	l := newLink(t, quick(Settings{Transport: "UDPv4", DelayMechanism: "E2E"}))
	h := skewedHost{start: time.Now().UnixNano()}
	w := l.watch(h)
	condition := func(c sources.Condition, words string) func([]sources.Sample, sources.Report) bool {
		return func(_ []sources.Sample, r sources.Report) bool {
			return r.Condition == c && strings.Contains(r.Detail, words)
		}
	}
	w.until(t, "report that there is no engine", condition(sources.Unreachable, "ptp4l does not answer"))
	engine := l.startEngine()
	w.until(t, "report that no master is heard", condition(sources.Unreachable, "LISTENING"))
	told, err := DialManagement(filepath.Join(l.dir, "told.sock"), l.cfg.EngineSocket(), 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	if err := told.Subscribe(t.Context(), time.Minute); err != nil {
		t.Errorf("subscribe: %v", err)
	}
	gm := l.startGrandmaster()
	_, r := w.until(t, "measurement", condition(sources.Measuring, "UNCALIBRATED"))
	if !r.Quality.ClockClass.Is(248) || !r.Quality.StepsRemoved.Is(1) || !r.Quality.PTPTimescale.Is(false) || len(r.Quality.Reference) != 18 {
		t.Errorf("quality of a plain ptp4l grandmaster is %+v", r.Quality)
	}
	if len(told.Notifications()) == 0 {
		t.Error("no notification when the port left LISTENING")
	}
	engine.stop()
	w.until(t, "report that the engine is gone", condition(sources.Unreachable, "ptp4l does not answer"))
	before, _ := w.get()
	l.startEngine()
	w.until(t, "measurement by the new engine", condition(sources.Measuring, ""))
	if after, _ := w.get(); len(after) <= len(before) {
		t.Error("the new engine is Measuring without a sample")
	}
	gm.stop()
	w.until(t, "report that the master is gone", func(_ []sources.Sample, r sources.Report) bool { return r.Condition != sources.Measuring })
}

func testTAI(t *testing.T) {
	l := newLink(t, quick(Settings{Transport: "UDPv4", DelayMechanism: "E2E"}))
	l.startGrandmaster()
	h := skewedHost{start: time.Now().UnixNano()}
	w := l.watch(h)
	l.startEngine()
	w.until(t, "sample", func(s []sources.Sample, _ sources.Report) bool { return len(s) > 0 })

	l.grandmasterSettings("currentUtcOffsetValid 0 ptpTimescale 1")
	_, r := w.until(t, "refusal of TAI without a UTC offset", func(_ []sources.Sample, r sources.Report) bool {
		return r.Condition == sources.Unsynchronised && strings.Contains(r.Detail, "utc_offset")
	})
	if r.Quality.UTCOffset.Present() || !r.Quality.PTPTimescale.Is(true) {
		t.Errorf("quality is %+v", r.Quality)
	}
	// The grandmaster goes on to serve CLOCK_REALTIME; once it calls that TAI, UTC is 37 s less.
	l.grandmasterSettings("currentUtcOffsetValid 1 ptpTimescale 1")
	w.until(t, "sample that is 37 s early", func(s []sources.Sample, r sources.Report) bool {
		return r.Condition == sources.Measuring && (s[len(s)-1].Offset+37*time.Second).Abs() < 10*time.Millisecond
	})
}

func (l *link) grandmasterSettings(flags string) {
	l.t.Helper()
	set := "SET GRANDMASTER_SETTINGS_NP clockClass 6 clockAccuracy 0x21 offsetScaledLogVariance 0x4e5d currentUtcOffset 37 leap61 0 leap59 0 " +
		flags + " timeTraceable 1 frequencyTraceable 1 timeSource 0x20"
	out, err := exec.Command("pmc", "-u", "-b", "0", "-i", filepath.Join("/run", l.gm+".pmc"), "-s", filepath.Join("/run", l.gm+".sock"), set).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("RESPONSE MANAGEMENT GRANDMASTER_SETTINGS_NP")) {
		l.t.Fatalf("pmc: %v: %s", err, out)
	}
}

func testProbe(t *testing.T) {
	ip(t, "link add probe0 type veth peer name probe1")
	c, err := Probe("probe0")
	if err != nil {
		t.Fatal(err)
	}
	mode, reason, err := ChooseMode("auto", c)
	if err != nil || mode != Software {
		t.Errorf("a veth is used with %v (%s), %v; %v", mode, reason, err, c)
	}
	if _, _, err := ChooseMode("hardware", c); err == nil {
		t.Error("hardware timestamps of a veth are believed in")
	}
	if _, err := Probe("absent0"); err == nil || !strings.Contains(err.Error(), "absent0") {
		t.Errorf("probe of an interface that does not exist: %v", err)
	}
}
