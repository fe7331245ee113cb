package ptp

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/facebook/time/ptp/protocol"
	"github.com/google/go-cmp/cmp"

	"clockarbiter/clock/timescale"
)

var (
	masterA = protocol.PortIdentity{ClockIdentity: 0xa, PortNumber: 1}
	masterB = protocol.PortIdentity{ClockIdentity: 0xb, PortNumber: 1}
)

// network is a simulated master and path. True time is in nanoseconds; L runs ppm fast.
type network struct {
	rand          *rand.Rand
	ppm           float64
	parent        protocol.PortIdentity
	forward, back time.Duration // fixed path delays
	jitter        time.Duration // mean of an exponential queue, each way
	step          time.Duration // the master's clock against true time
	syncEvery     time.Duration
	requestEvery  time.Duration // 0: none
	requestAfter  time.Duration // phase of the requests
	dropRequests  float64
}

const epoch = int64(1_800_000_000_000_000_000)

func newNetwork(ppm float64) *network {
	return &network{
		rand: rand.New(rand.NewPCG(7, 11)), ppm: ppm, parent: masterA,
		forward: 40 * time.Microsecond, back: 40 * time.Microsecond, jitter: 2 * time.Microsecond,
		syncEvery: time.Second, requestEvery: time.Second, requestAfter: 700 * time.Millisecond,
	}
}

func (n *network) local(trueNS int64) timescale.Instant {
	return timescale.Instant(epoch + trueNS + int64(float64(trueNS)*n.ppm*1e-6))
}

func (n *network) master(trueNS int64) int64 { return epoch + trueNS + int64(n.step) }

// truth is master - L at an instant of L.
func (n *network) truth(at timescale.Instant) time.Duration {
	trueNS := float64(int64(at)-epoch) / (1 + n.ppm*1e-6)
	return time.Duration(trueNS-float64(int64(at)-epoch)) + n.step
}

func (n *network) queue() int64 { return int64(n.rand.ExpFloat64() * float64(n.jitter)) }

func (n *network) sync(trueNS int64) Sync {
	return Sync{Parent: n.parent, T1: n.master(trueNS), T2: n.local(trueNS + int64(n.forward) + n.queue())}
}

func (n *network) request(trueNS int64) DelayRequest {
	return DelayRequest{Parent: n.parent, T3: n.local(trueNS), T4: n.master(trueNS + int64(n.back) + n.queue())}
}

// run plays the exchange from one true time to another and returns what was measured.
func (n *network) run(x *Exchange, from, to time.Duration) []Measurement {
	var got []Measurement
	for at := from; at < to; at += n.syncEvery {
		got = append(got, x.Sync(n.sync(int64(at)))...)
		for r := at + n.requestAfter; n.requestEvery > 0 && r < at+n.requestAfter+n.syncEvery; r += n.requestEvery {
			if n.rand.Float64() >= n.dropRequests {
				got = append(got, x.Delay(n.request(int64(r)))...)
			}
		}
	}
	return got
}

func (n *network) errors(ms []Measurement) []float64 {
	var e []float64
	for _, m := range ms {
		e = append(e, float64(m.Offset-n.truth(m.At)))
	}
	return e
}

func TestOffsetIsUnbiasedWhateverTheRateOfL(t *testing.T) {
	const runs = 20
	for _, ppm := range []float64{0, 50, -50, 500, -500} {
		var biases []float64
		for seed := range uint64(runs) {
			n := newNetwork(ppm)
			n.rand = rand.New(rand.NewPCG(seed, 1))
			ms := n.run(NewExchange(false, Software), 0, 24*time.Second)
			if len(ms) < 20 {
				t.Fatalf("%v ppm: %d measurements of 24 Syncs", ppm, len(ms))
			}
			bias := median(n.errors(ms))
			if bias < -1000 || bias > 1000 {
				t.Errorf("%v ppm, seed %d: bias %.0f ns, limit 1000 ns", ppm, seed, bias)
			}
			if rate := ms[len(ms)-1].RatePPB; rate > -ppm*1000+1000 || rate < -ppm*1000-1000 {
				t.Errorf("%v ppm, seed %d: rate %.0f ppb, want %.0f within 1000", ppm, seed, rate, -ppm*1000)
			}
			biases = append(biases, bias)
		}
		if m := median(biases); m < -200 || m > 200 {
			t.Errorf("%v ppm: typical bias %.0f ns, limit 200 ns", ppm, m)
		}
	}
}

func TestErrorIsWithinHalfTheDelayAndDispersion(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*network)
	}{
		{"quiet", func(*network) {}},
		{"queueing of 100 us", func(n *network) { n.jitter = 100 * time.Microsecond }},
		{"asymmetric path", func(n *network) { n.forward = 100 * time.Microsecond }},
		{"16 Sync per second", func(n *network) { n.syncEvery, n.requestAfter = 62500*time.Microsecond, 20*time.Millisecond }},
		{"most responses lost", func(n *network) { n.dropRequests = 0.7 }},
		{"500 ppm and queueing", func(n *network) { n.ppm, n.jitter = 500, 30*time.Microsecond }},
	} {
		n := newNetwork(0)
		c.set(n)
		for i, m := range n.run(NewExchange(false, Software), 0, 60*time.Second) {
			e, bound := (m.Offset - n.truth(m.At)).Abs(), m.Delay/2+m.Dispersion
			if e > bound {
				t.Errorf("%s: measurement %d is off by %v, promised %v", c.name, i, e, bound)
			}
			if m.Delay < 0 || m.Dispersion < stampsOf(Software).resolution {
				t.Errorf("%s: delay %v, dispersion %v", c.name, m.Delay, m.Dispersion)
			}
		}
	}
}

func TestEverySyncIsMeasuredTheFirstOnesLate(t *testing.T) {
	for _, mode := range []Mode{Software, Hardware} {
		n, x := newNetwork(30), NewExchange(false, mode)
		n.jitter = 0
		first := stampsOf(mode).minSyncs
		if got := n.run(x, 0, time.Duration(first-1)*time.Second); len(got) != 0 {
			t.Errorf("%v: %d measurements without a rate", mode, len(got))
		}
		got := n.run(x, time.Duration(first-1)*time.Second, 30*time.Second)
		if len(got) != 30 || !slices.IsSortedFunc(got, func(a, b Measurement) int { return int(a.At.Sub(b.At)) }) {
			t.Errorf("%v: %d measurements of 30 Syncs", mode, len(got))
		}
		for _, e := range n.errors(got) {
			if e > 3 || e < -3 {
				t.Errorf("%v: off by %.0f ns", mode, e)
			}
		}
	}
}

func TestARequestBeforeTheFirstSyncIsEnough(t *testing.T) {
	n, x := newNetwork(30), NewExchange(false, Hardware)
	n.jitter, n.requestEvery = 200*time.Nanosecond, 0
	stranger := n.request(0)
	stranger.Parent, stranger.T4 = masterB, 0
	if got := append(x.Delay(stranger), x.Delay(n.request(1e8))...); len(got) != 0 {
		t.Errorf("measured without a Sync: %+v", got)
	}
	got := n.run(x, time.Second, 3*time.Second)
	if len(got) != 2 {
		t.Fatalf("%d measurements of two Syncs", len(got))
	}
	for _, m := range got {
		if e := (m.Offset - n.truth(m.At)).Abs(); e > m.Delay/2+m.Dispersion || m.Dispersion < 200*time.Nanosecond {
			t.Errorf("off by %v, and said to be within %v of half of %v", e, m.Dispersion, m.Delay)
		}
	}
}

// TestAFirstDelayThatIsUnsureIsNotTheMinimum: it would make what every later exchange waits look like queueing.
func TestAFirstDelayThatIsUnsureIsNotTheMinimum(t *testing.T) {
	n, x := newNetwork(30), NewExchange(false, Hardware)
	n.jitter = 0
	x.Delay(n.request(1e8))
	first, second := n.sync(1e9), n.sync(2e9)
	second.T2 = second.T2.Add(400) // which makes the first rate wrong by 400 ppb
	x.Sync(first)
	x.Sync(second)
	got := n.run(x, 3*time.Second, 20*time.Second)
	if m := got[len(got)-1]; m.Dispersion > 100*time.Nanosecond || (m.Delay-80*time.Microsecond).Abs() > 100 {
		t.Errorf("delay %v, dispersion %v, want 80us and at most 100ns", m.Delay, m.Dispersion)
	}
}

func TestNothingIsMeasuredWithoutADelay(t *testing.T) {
	n := newNetwork(0)
	n.requestEvery = 0
	if got := n.run(NewExchange(false, Software), 0, 30*time.Second); len(got) != 0 {
		t.Errorf("%d measurements without a delay response", len(got))
	}
	if got := n.run(NewExchange(true, Software), 0, 30*time.Second); len(got) != 0 {
		t.Errorf("%d measurements without a peer delay", len(got))
	}
}

func TestDelayResponsesThatStopEndTheMeasurements(t *testing.T) {
	n, x := newNetwork(0), NewExchange(false, Software)
	n.run(x, 0, 20*time.Second)
	n.requestEvery = 0
	got := n.run(x, 20*time.Second, 60*time.Second)
	if want := int(delayMaxAge / time.Second); len(got) > want+1 || len(got) < want-1 {
		t.Errorf("%d measurements after the last response, want about %d", len(got), want)
	}
}

func TestDuplicatesAndLateResponsesChangeNothing(t *testing.T) {
	plain, twice := NewExchange(false, Software), NewExchange(false, Software)
	n := newNetwork(20)
	var want, got []Measurement
	var held DelayRequest
	for i := range int64(20) {
		s, d := n.sync(i*1e9), n.request(i*1e9+5e8)
		want = append(append(want, plain.Sync(s)...), plain.Delay(d)...)
		got = append(got, twice.Sync(s)...)
		if m := twice.Sync(s); len(m) != 0 {
			t.Errorf("duplicate Sync measured %+v", m)
		}
		if i%2 == 0 { // the response to this request comes after the next one
			held = d
			if i < 4 {
				twice.Delay(d)
			}
			continue
		}
		twice.Delay(d)
		twice.Delay(held)
		twice.Delay(d)
	}
	if len(got) != len(want) || !cmp.Equal(got[len(got)-1].At, want[len(want)-1].At) {
		t.Fatalf("%d measurements, want %d", len(got), len(want))
	}
	for i := range got {
		if d := (got[i].Offset - want[i].Offset).Abs(); d > 3*time.Microsecond {
			t.Errorf("measurement %d moved by %v", i, d)
		}
	}
}

func TestAChangeOfMasterForgetsTheOldOne(t *testing.T) {
	n, x := newNetwork(0), NewExchange(false, Software)
	n.run(x, 0, 20*time.Second)
	n.parent, n.step = masterB, 37*time.Second
	got := n.run(x, 20*time.Second, 40*time.Second)
	if len(got) != 20 {
		t.Errorf("%d measurements of 20 Syncs of the new master", len(got))
	}
	for _, m := range got {
		if e := (m.Offset - n.truth(m.At)).Abs(); e > 50*time.Microsecond || m.Parent != masterB {
			t.Errorf("measurement of %v is off by %v", m.Parent, e)
		}
	}
	x.Delay(DelayRequest{Parent: masterA, T3: n.local(41e9), T4: 0})
	if m := x.Sync(n.sync(41e9)); len(m) != 1 || (m[0].Offset-n.truth(m[0].At)).Abs() > 50*time.Microsecond {
		t.Errorf("a response of the old master was taken: %+v", m)
	}
}

func TestAStepOfTheMasterShowsInTheNextSync(t *testing.T) {
	for _, mode := range []Mode{Software, Hardware} {
		for _, step := range []time.Duration{time.Second, -900 * time.Millisecond, 15 * time.Millisecond, -37 * time.Second} {
			n, x := newNetwork(10), NewExchange(false, mode)
			n.run(x, 0, 20*time.Second)
			n.step = step
			got := n.run(x, 20*time.Second, 40*time.Second)
			if len(got) != 20 {
				t.Errorf("%v, step %v: %d measurements of the 20 Syncs after it", mode, step, len(got))
			}
			for _, m := range got {
				if e := (m.Offset - n.truth(m.At)).Abs(); e > 50*time.Microsecond {
					t.Errorf("%v, step %v: sample off by %v at %v", mode, step, e, m.At)
				}
			}
		}
	}
}

func TestAMillisecondIsAStepForHardwareTimestamps(t *testing.T) {
	for _, step := range []time.Duration{time.Millisecond, -time.Millisecond} {
		n, x := newNetwork(10), NewExchange(false, Hardware)
		n.jitter = 50 * time.Nanosecond
		n.run(x, 0, 20*time.Second)
		n.step = step
		got := n.run(x, 20*time.Second, 30*time.Second)
		if len(got) != 10 {
			t.Errorf("step %v: %d measurements of 10 Syncs", step, len(got))
		}
		for i, m := range got {
			if e := (m.Offset - n.truth(m.At)).Abs(); e > m.Delay/2+m.Dispersion || e > time.Microsecond {
				t.Errorf("step %v: measurement %d is off by %v", step, i, e)
			}
		}
	}
}

func TestHardwareTimestampsOverACongestedNetwork(t *testing.T) {
	for _, jitter := range []time.Duration{30 * time.Microsecond, 300 * time.Microsecond} {
		n, x := newNetwork(10), NewExchange(false, Hardware)
		n.jitter = jitter
		n.run(x, 0, 20*time.Second)
		got := n.run(x, 20*time.Second, 320*time.Second)
		if len(got) < 290 {
			t.Errorf("jitter %v: %d measurements of 300 Syncs", jitter, len(got))
		}
		var outside int
		for _, m := range got {
			if (m.Offset - n.truth(m.At)).Abs() > m.Delay/2+m.Dispersion {
				outside++
			}
		}
		if outside > 3 {
			t.Errorf("jitter %v: %d of %d measurements break their promise", jitter, outside, len(got))
		}
	}
}

// A path that becomes longer on one side looks like a stepped master until the next request.
func TestALongerPathIsKnownWithTheNextRequest(t *testing.T) {
	n, x := newNetwork(10), NewExchange(false, Hardware)
	n.jitter = 50 * time.Nanosecond
	n.run(x, 0, 20*time.Second)
	n.forward += 300 * time.Microsecond
	got := n.run(x, 20*time.Second, 30*time.Second)
	for i, m := range got[1:] {
		if e := (m.Offset - n.truth(m.At)).Abs(); e > m.Delay/2+m.Dispersion {
			t.Errorf("measurement %d after the change is off by %v, promised %v", i+1, e, m.Delay/2+m.Dispersion)
		}
	}
}

func TestAWildSyncMovesNothingElse(t *testing.T) {
	n, x := newNetwork(10), NewExchange(false, Software)
	n.run(x, 0, 20*time.Second)
	wild := n.sync(20e9)
	wild.T1 += int64(4 * time.Second)
	if m := x.Sync(wild); len(m) != 1 || (m[0].Offset-n.truth(m[0].At)-4*time.Second).Abs() > 50*time.Microsecond {
		t.Errorf("what it says: %+v", m)
	}
	got := n.run(x, 21*time.Second, 31*time.Second)
	if len(got) != 10 {
		t.Errorf("%d measurements of 10 Syncs after a wild one", len(got))
	}
	for _, e := range n.errors(got) {
		if e > 50_000 || e < -50_000 {
			t.Errorf("%.0f ns off after a wild Sync", e)
		}
	}
}

func TestAMasterWithoutARateIsForgotten(t *testing.T) {
	n, x := newNetwork(10), NewExchange(false, Software)
	n.run(x, 0, 20*time.Second)
	for i := range int64(20) {
		n.step = time.Duration(i*i) * time.Second
		x.Sync(n.sync(20e9 + i*1e9))
	}
	n.step = 0
	if got := n.run(x, 40*time.Second, 60*time.Second); len(got) < 14 {
		t.Errorf("%d measurements of 20 Syncs after the mess", len(got))
	}
}

func TestPeerDelayIsUsedForPeerToPeer(t *testing.T) {
	n, x := newNetwork(500), NewExchange(true, Software)
	n.requestEvery = 0
	x.SetPeerDelay(n.forward)
	ms := n.run(x, 0, 30*time.Second)
	if len(ms) < 26 {
		t.Fatalf("%d measurements", len(ms))
	}
	for i, m := range ms {
		if e := (m.Offset - n.truth(m.At)).Abs(); e > m.Delay/2+m.Dispersion {
			t.Errorf("measurement %d off by %v, promised %v", i, e, m.Delay/2+m.Dispersion)
		}
	}
	if bias := median(n.errors(ms)); bias > 0 || bias < -4000 {
		t.Errorf("bias %.0f ns, want minus the queueing of a Sync", bias)
	}
}
