package vm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// UTCOffset is TAI - UTC in the world of the guest.
const UTCOffset = 37 * time.Second

// WorldOptions say how the world differs from a perfect one.
type WorldOptions struct {
	// TruthPPB is the rate of the true time against the host's oscillator: positive means that the
	// host's clock is slow. Truth is what gmA and all NTP servers serve.
	TruthPPB int
	// Behind is how far the host's clock is behind the truth at the start.
	Behind time.Duration
	// NTPServers is how many NTP servers serve the truth, on 10.8.0.1 and up.
	NTPServers int
	// NoB leaves grandmaster B out.
	NoB bool
	// Date is what the host's clock shows at the start; zero: as the snapshot left it.
	Date time.Time
	// Leap is the leap second at the first midnight after Date: 1 is inserted, -1 deleted, 0 none. NTP servers
	// and grandmasters announce it.
	Leap int
}

// midnight is the first one after Date, seconds since 1970.
func (o WorldOptions) midnight() int64 {
	return o.Date.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1).Unix()
}

// utc are the flags by which the world's programs know UTC.
func (o WorldOptions) utc() string {
	if o.Leap == 0 {
		return ""
	}
	return fmt.Sprintf("-leap-by %d -leap-at %d", o.Leap, o.midnight())
}

// World is what surrounds the host in the guest.
type World struct {
	guest   *Guest
	options WorldOptions
}

// Grandmaster is one of the world's two.
type Grandmaster struct {
	guest              *Guest
	namespace          string
	iface, phc         string
	domain             int
	transport, address string
}

// A and B are the grandmasters: A serves the truth and must not be made to lie.
func (w World) A() Grandmaster {
	return Grandmaster{w.guest, "gmA", "enp1s0", "/dev/ptp0", 0, "L2", "10.9.1.1"}
}

// B is the one that can lie.
func (w World) B() Grandmaster {
	return Grandmaster{w.guest, "gmB", "enp3s0", "/dev/ptp2", 24, "UDPv4", "10.9.3.1"}
}

// NewWorld makes the world in a fresh guest and returns when its clocks are set and its daemons run.
func NewWorld(t testing.TB, g *Guest, o WorldOptions) World {
	t.Helper()
	w := World{g, o}
	g.PutProgram(t, "/usr/local/bin/truth", "./integration/vm/guest/truth")
	g.PutProgram(t, "/usr/local/bin/gauge", "./integration/vm/guest/gauge")
	g.Run(t, network(o))
	w.setClocks(t, o)
	w.A().Start(t)
	if !o.NoB {
		w.B().Start(t)
	}
	for n := range o.NTPServers {
		w.Serve(t, n+1)
	}
	if o.Leap != 0 {
		w.announce(t)
	}
	return w
}

// announce has the grandmasters announce the leap second, and what is after it when it is over.
func (w World) announce(t testing.TB) {
	t.Helper()
	before := Settings{Leap61: w.options.Leap > 0, Leap59: w.options.Leap < 0}
	after := Settings{UTCOffset: int(UTCOffset.Seconds()) + w.options.Leap}
	masters := []Grandmaster{w.A(), w.B()}
	if w.options.NoB {
		masters = masters[:1]
	}
	for _, m := range masters {
		m.Advertise(t, before)
		// The host's clock is the one under test: what is waited for is an interval.
		w.guest.Run(t, fmt.Sprintf("(sleep $((%d + %d - $(date +%%s))); %s) >/dev/null 2>&1 </dev/null &",
			w.options.midnight(), w.options.Leap, m.advertise(after)))
	}
}

// network makes the namespaces and addresses, and waits for the links: the driver resets the PHC when
// a port comes up.
func network(o WorldOptions) string {
	var b strings.Builder
	b.WriteString("modprobe veth\n")
	for _, ns := range []struct{ name, iface, peer, net string }{{"gmA", "enp1s0", "enp2s0", "10.9.1"}, {"gmB", "enp3s0", "enp4s0", "10.9.3"}} {
		fmt.Fprintf(&b, "ip netns add %[1]s; ip link set %[2]s netns %[1]s; ip -n %[1]s link set lo up\n", ns.name, ns.iface)
		fmt.Fprintf(&b, "ip -n %s addr add %s.1/24 dev %s; ip -n %s link set %s up\n", ns.name, ns.net, ns.iface, ns.name, ns.iface)
		fmt.Fprintf(&b, "ip addr add %s.2/24 dev %s; ip link set %s up\n", ns.net, ns.peer, ns.peer)
	}
	b.WriteString("ip link add vntp type veth peer name vsrv; ip link set vsrv netns gmA\n")
	b.WriteString("ip addr add 10.8.0.100/24 dev vntp; ip link set vntp up; ip -n gmA link set vsrv up\n")
	for n := range o.NTPServers {
		fmt.Fprintf(&b, "ip -n gmA addr add 10.8.0.%d/24 dev vsrv\n", n+1)
	}
	b.WriteString(`for i in enp2s0 enp4s0; do
	n=0
	until [ "$(cat /sys/class/net/$i/operstate)" = up ]; do n=$((n + 1)); [ $n -lt 100 ]; sleep 0.1; done
done
sleep 1
`)
	return b.String()
}

// setClocks sets all PHCs to TAI, then the truth ahead of the host's clock, and B's to the truth.
func (w World) setClocks(t testing.TB, o WorldOptions) {
	t.Helper()
	var b strings.Builder
	if !o.Date.IsZero() {
		fmt.Fprintf(&b, "date -s @%d\n", o.Date.Unix())
	}
	for phc := range 4 {
		fmt.Fprintf(&b, "phc_ctl -q /dev/ptp%d -- freq 0 set adj %d\n", phc, int(UTCOffset.Seconds()))
	}
	for _, phc := range []int{0, 2} {
		fmt.Fprintf(&b, "phc_ctl -q /dev/ptp%d -- adj %.9f freq %d\n", phc, o.Behind.Seconds(), o.TruthPPB)
	}
	b.WriteString("hwclock --systohc 2>/dev/null || true\n")
	w.guest.Run(t, b.String())
	// Setting two clocks takes two instants: the difference that this makes is taken out.
	for range 2 {
		w.B().shift(t, -w.ahead(t, "/dev/ptp2"))
	}
}

// ahead is a PHC - the truth.
func (w World) ahead(t testing.TB, phc string) time.Duration {
	t.Helper()
	out := strings.TrimSpace(w.guest.Run(t, "gauge -other "+phc))
	ns, err := strconv.ParseInt(out, 10, 64)
	if err != nil {
		t.Fatalf("gauge -other said %q", out)
	}
	return time.Duration(ns)
}

// grandmasterSettings are what pmc sets: ptp4l serves TAI without a valid UTC offset by default.
const grandmasterSettings = `pmc -u -b 0 -s %[1]s -d %[2]d "SET GRANDMASTER_SETTINGS_NP clockClass %[3]d clockAccuracy 0x20 ` +
	`offsetScaledLogVariance 0x4e5d currentUtcOffset %[4]d leap61 %[5]d leap59 %[6]d currentUtcOffsetValid 1 ptpTimescale 1 ` +
	`timeTraceable 1 frequencyTraceable 1 timeSource 0x20" | grep -q RESPONSE`

// Settings are what a grandmaster says of itself.
type Settings struct {
	ClockClass     int // 0: 6
	UTCOffset      int // 0: 37
	Leap61, Leap59 bool
}

// Start starts the grandmaster's ptp4l, which must not run, and has it advertise UTC.
func (m Grandmaster) Start(t testing.TB) {
	t.Helper()
	m.startAs(t, "")
}

// Replace puts another grandmaster with the same time in the place of this one.
func (m Grandmaster) Replace(t testing.TB, identity string) {
	t.Helper()
	m.Kill(t)
	m.startAs(t, "clockIdentity "+identity+"\n")
}

func (m Grandmaster) startAs(t testing.TB, identity string) {
	t.Helper()
	conf := fmt.Sprintf(`[global]
free_running 1
tx_timestamp_timeout 100
uds_address /run/%[1]s.sock
uds_ro_address /run/%[1]s-ro.sock
domainNumber %[2]d
network_transport %[3]s
clockClass 6
priority1 100
%[4]s`, m.namespace, m.domain, m.transport, identity)
	m.guest.Put(t, "/run/"+m.namespace+".conf", 0o644, []byte(conf))
	m.guest.Run(t, fmt.Sprintf(`ip netns exec %[1]s ptp4l -i %[2]s -f /run/%[1]s.conf -m -q >>/run/%[1]s.log 2>&1 </dev/null &
echo $! >/run/%[1]s.pid
n=0; until [ -S /run/%[1]s.sock ]; do n=$((n + 1)); [ $n -lt 100 ]; sleep 0.1; done
`, m.namespace, m.iface))
	m.Advertise(t, Settings{})
}

// AnnounceInterval is ptp4l's default: what a grandmaster says of itself, its UTC offset too, comes with its Announces.
const AnnounceInterval = 2 * time.Second

// MasterSince is when its port became MASTER, on the guest's monotonic clock: its Announces are whole intervals later.
func (m Grandmaster) MasterSince(t testing.TB) time.Duration {
	t.Helper()
	s := strings.TrimSpace(m.guest.Run(t, fmt.Sprintf(`sed -n 's/^ptp4l\[\([0-9.]*\)\].* to MASTER on .*/\1/p' /run/%s.log | tail -n 1`, m.namespace)))
	at, err := time.ParseDuration(s + "s")
	if err != nil {
		t.Fatalf("%s has not become a master: %v", m.namespace, err)
	}
	return at
}

// Advertise changes what the grandmaster says of itself; its time stays.
func (m Grandmaster) Advertise(t testing.TB, s Settings) {
	t.Helper()
	m.guest.Run(t, m.advertise(s))
}

func (m Grandmaster) advertise(s Settings) string {
	bit := map[bool]int{true: 1}
	if s.ClockClass == 0 {
		s.ClockClass = 6
	}
	if s.UTCOffset == 0 {
		s.UTCOffset = int(UTCOffset.Seconds())
	}
	return fmt.Sprintf(grandmasterSettings, "/run/"+m.namespace+".sock", m.domain, s.ClockClass, s.UTCOffset, bit[s.Leap61], bit[s.Leap59])
}

// Kill ends the grandmaster's ptp4l at once.
func (m Grandmaster) Kill(t testing.TB) {
	t.Helper()
	m.guest.Run(t, fmt.Sprintf("kill -9 $(cat /run/%[1]s.pid); rm -f /run/%[1]s.sock", m.namespace))
}

// Lie moves the grandmaster's time away from the truth: positive is ahead. A grandmaster's PHC that
// is the truth cannot lie.
func (m Grandmaster) Lie(t testing.TB, by time.Duration) {
	t.Helper()
	if m.phc == "/dev/ptp0" {
		t.Fatal("grandmaster A is the truth")
	}
	m.shift(t, by)
}

func (m Grandmaster) shift(t testing.TB, by time.Duration) {
	t.Helper()
	m.guest.Run(t, fmt.Sprintf("phc_ctl -q %s -- adj %s", m.phc, strconv.FormatFloat(by.Seconds(), 'f', 9, 64)))
}

// Serve starts NTP server n, which serves the truth.
func (w World) Serve(t testing.TB, n int, options ...string) {
	t.Helper()
	w.guest.Run(t, fmt.Sprintf("ip netns exec gmA truth -address 10.8.0.%[1]d %[3]s %[2]s >/run/truth%[1]d.log 2>&1 </dev/null & echo $! >/run/truth%[1]d.pid",
		n, strings.Join(options, " "), w.options.utc()))
}

// StopServing ends NTP server n.
func (w World) StopServing(t testing.TB, n int) {
	t.Helper()
	w.guest.Run(t, fmt.Sprintf("kill $(cat /run/truth%d.pid)", n))
}
