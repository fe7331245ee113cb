package ptp

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/clock/timescale"
)

// The arithmetic of an exchange. t1 and t4 are on the master's timescale, t2 and t3 on L:
//
//	master  --t1-----------------------t4--
//	            \  forward       back /
//	L       ------t2------------t3---------
//
//	delay  = ((t2 - t3) rr + (t4 - t1)) / 2     one way
//	offset = t1 + delay - t2                    master - L, at t2
//
// rr is the rate of the master against L. Without it the time between t2 and t3, up to seconds, is
// measured with the wrong clock, and the offset is wrong by half of (seconds x rate error): ptp4l's
// own master_offset is biased by 7 us at 50 ppm in free_running.
//
// A Sync that queued for qf and a request that queued for qb give delay = base + (qf + qb)/2 and
// offset = true + (qb - qf)/2. Each Sync is therefore combined with every recent request, and the
// median of the delays taken: qb becomes the typical one, a single late request spoils nothing, and
// symmetrical queueing leaves no bias. The excess of that delay over the window's minimum is
// (qf + typical qb)/2, which is at least the error |qb - qf|/2: it is the Dispersion. What the
// minimum itself hides, a constant asymmetry, is bounded by half the round-trip Delay as always.
const (
	delayWindow    = 5                     // delay requests that a Sync is combined with
	delayMaxAge    = 10 * time.Second      // ... not older than this
	minimumWindow  = 64                    // Syncs over which the path's minimum is taken
	minimumMaxAge  = 60 * time.Second      // ... not older than this: a path can become longer
	negativeLeeway = 20 * time.Microsecond // a delay may be this much below zero before the master must have stepped
	outlierLimit   = 10 * time.Millisecond // a Sync further off than this is held back until the next one
	// timestampResolution covers a software timestamp's own granularity and its conversion to L.
	timestampResolution = 100 * time.Nanosecond
	// peerStackError: with software timestamps a Sync and a peer delay message can take constantly
	// different times through the two kernels (0.5 to 1.5 us seen over veth), and no exchange of the
	// two shows it.
	peerStackError = 2 * time.Microsecond
)

// Sync is a SyncRecord whose arrival has been placed on L.
type Sync struct {
	Parent protocol.PortIdentity
	T1     int64             // master's timescale, ns, corrected
	T2     timescale.Instant // L
}

// DelayRequest is a DelayRecord whose departure has been placed on L.
type DelayRequest struct {
	Parent protocol.PortIdentity
	T3     timescale.Instant
	T4     int64
}

// Measurement is what one Sync says about the master's clock.
type Measurement struct {
	Parent protocol.PortIdentity
	At     timescale.Instant
	// Offset is the master's timescale - L, which may be TAI or UTC. Positive: L is slow.
	Offset time.Duration
	// Delay is the round-trip delay, twice the shortest mean path delay of the window.
	Delay time.Duration
	// Dispersion is a half-width: queueing of this exchange, uncertainty of the rate, resolution.
	Dispersion time.Duration
	// RatePPB is the rate of the master against L.
	RatePPB float64
}

// Exchange turns timestamps into measurements. It is a pure state machine: no clock, no I/O.
type Exchange struct {
	peerToPeer bool
	parent     protocol.PortIdentity
	started    bool
	last       Sync
	outliers   int
	rate       rateEstimator
	requests   []DelayRequest
	minimum    delayMinimum
	transit    delayMinimum // peer-to-peer: forward transit alone
	peerDelay  time.Duration
	peerKnown  bool
}

// NewExchange returns an Exchange for one master at a time. With peerToPeer the path delay comes
// from SetPeerDelay, because ptp4l's event monitor does not report peer delay exchanges.
func NewExchange(peerToPeer bool) *Exchange { return &Exchange{peerToPeer: peerToPeer} }

// SetPeerDelay gives the mean link delay to the peer. Negative values are taken as 0.
func (x *Exchange) SetPeerDelay(d time.Duration) {
	x.peerDelay, x.peerKnown = max(d, 0), true
}

// Reset forgets everything: the next Sync may come from another master or a stepped one.
func (x *Exchange) Reset() {
	*x = Exchange{peerToPeer: x.peerToPeer, peerDelay: x.peerDelay, peerKnown: x.peerKnown}
}

// Delay takes a delay request with its response. Duplicates and those of another master are
// dropped; late ones are still good, as they are combined by time and not by order.
func (x *Exchange) Delay(d DelayRequest) {
	if !x.started || d.Parent != x.parent {
		return
	}
	if slices.ContainsFunc(x.requests, func(o DelayRequest) bool { return o.T3 == d.T3 }) {
		return
	}
	x.requests = append(x.requests, d)
	slices.SortFunc(x.requests, func(a, b DelayRequest) int { return cmp.Compare(a.T3, b.T3) })
	x.requests = slices.Delete(x.requests, 0, max(0, len(x.requests)-delayWindow))
}

// Sync takes a Sync and returns what it measures. False: a duplicate, out of order, an outlier on
// trial, or rate or delay are not known yet.
func (x *Exchange) Sync(s Sync) (Measurement, bool) {
	if x.started && s.Parent != x.parent {
		x.Reset()
	}
	if x.started && (!s.T2.After(x.last.T2) || s.T1 == x.last.T1) {
		return Measurement{}, false
	}
	if x.onTrial(s) {
		return Measurement{}, false
	}
	x.started, x.parent, x.last = true, s.Parent, s
	x.rate.add(s.T1, s.T2)
	r, ok := x.rate.rate()
	if !ok {
		return Measurement{}, false
	}
	if x.peerToPeer {
		return x.measurePeer(s, r)
	}
	return x.measure(s, r)
}

// onTrial holds back a Sync that the last one contradicts. One such Sync queued, or its stamp is
// wild; a second one means that the master's clock was stepped, and all that was learnt is void.
func (x *Exchange) onTrial(s Sync) bool {
	if !x.started {
		return false
	}
	local := s.T2.Sub(x.last.T2)
	off := time.Duration(s.T1-x.last.T1) - local
	if off.Abs() <= outlierLimit+time.Duration(float64(local)*maxRatePPB*1e-9) {
		x.outliers = 0
		return false
	}
	if x.outliers++; x.outliers > 1 {
		x.Reset()
		return false
	}
	return true
}

func (x *Exchange) measure(s Sync, r rate) (Measurement, bool) {
	delays, age := x.delays(s, r)
	if len(delays) == 0 {
		return Measurement{}, false
	}
	own := time.Duration(math.Round(median(delays)))
	rateError := time.Duration(3 * r.SD * 1e-9 * float64(age) / 2) // three standard deviations: it is a promise
	if own < -negativeLeeway-rateError {
		x.Reset()
		return Measurement{}, false
	}
	best := x.minimum.add(s.T2, own)
	return Measurement{
		Parent:     s.Parent,
		At:         s.T2,
		Offset:     time.Duration(s.T1-int64(s.T2)) + own,
		Delay:      2 * max(best, 0),
		Dispersion: own - best + rateError + timestampResolution,
		RatePPB:    r.PPB,
	}, true
}

// delays combines s with each recent request, and tells their median distance in time from s, over
// which an error of the rate acts.
func (x *Exchange) delays(s Sync, r rate) (delays []float64, age time.Duration) {
	var ages []float64
	for _, q := range x.requests {
		gap := s.T2.Sub(q.T3)
		if gap.Abs() > delayMaxAge {
			continue
		}
		delays = append(delays, (r.scale(gap)+float64(q.T4-s.T1))/2)
		ages = append(ages, float64(gap.Abs()))
	}
	if len(ages) > 0 {
		age = time.Duration(median(ages))
	}
	return delays, age
}

// measurePeer uses the link delay that ptp4l measured. What this Sync queued is the excess of its
// forward transit, t2 - t1 with the rate taken out, over the window's minimum.
func (x *Exchange) measurePeer(s Sync, r rate) (Measurement, bool) {
	if !x.peerKnown {
		return Measurement{}, false
	}
	offset := time.Duration(s.T1 - int64(s.T2))
	excess := x.transit.excess(s.T2, -offset, r)
	return Measurement{
		Parent:     s.Parent,
		At:         s.T2,
		Offset:     offset + x.peerDelay,
		Delay:      2 * x.peerDelay,
		Dispersion: excess + peerStackError + timestampResolution,
		RatePPB:    r.PPB,
	}, true
}

// delayMinimum is the smallest of the recent values.
type delayMinimum struct {
	values []delayValue
}

type delayValue struct {
	at timescale.Instant
	d  time.Duration
}

func (m *delayMinimum) push(at timescale.Instant, d time.Duration, maxAge time.Duration) {
	m.values = append(m.values, delayValue{at, d})
	first := max(0, len(m.values)-minimumWindow)
	for at.Sub(m.values[first].at) > maxAge {
		first++
	}
	m.values = slices.Delete(m.values, 0, first)
}

// add returns the minimum of the window with d in it.
func (m *delayMinimum) add(at timescale.Instant, d time.Duration) time.Duration {
	m.push(at, d, minimumMaxAge)
	best := d
	for _, v := range m.values {
		best = min(best, v.d)
	}
	return best
}

// excess returns how far d lies above the smallest value of the rate's window, each value brought
// to the same instant with the rate.
func (m *delayMinimum) excess(at timescale.Instant, d time.Duration, r rate) time.Duration {
	m.push(at, d, rateMaxSpan)
	var most time.Duration
	for _, v := range m.values {
		drift := time.Duration(r.PPB * 1e-9 * float64(at.Sub(v.at)))
		most = max(most, d-(v.d-drift))
	}
	return most
}
