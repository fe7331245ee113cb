package ptp

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
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
	mostOutliers   = 3                     // outliers in a row, each against the last, that make us forget everything
	pendingSyncs   = 8                     // Syncs that wait for rate and delay at most
	queuesApart    = 8                     // times the usual queueing that two Syncs may differ by without being on trial
	queueingMemory = 8                     // Syncs over which the usual queueing is averaged
	knownRateLimit = 10_000                // ppb by which a known rate may change from one Sync to the next
)

// stamps are what timestamps of one kind are good for.
type stamps struct {
	// resolution covers a timestamp's own granularity and its conversion to L.
	resolution time.Duration
	// peerError: with software timestamps a Sync and a peer delay message can take constantly different
	// times through the two kernels (0.5 to 1.5 us seen over veth), and no exchange of the two shows it.
	peerError time.Duration
	// outlier is how far off a Sync must be to be on trial.
	outlier time.Duration
	// minSyncs is the number of Syncs from which the rate is known.
	minSyncs int
}

// stampsOf returns those of a mode. With hardware timestamps no kernel and no scheduler is between the
// wire and the stamp.
func stampsOf(m Mode) stamps {
	if m == Hardware {
		return stamps{resolution: 20 * time.Nanosecond, outlier: 100 * time.Microsecond, minSyncs: 2}
	}
	return stamps{resolution: 100 * time.Nanosecond, peerError: 2 * time.Microsecond, outlier: 10 * time.Millisecond, minSyncs: 4}
}

// Sync is a SyncRecord whose arrival has been placed on L.
type Sync struct {
	Parent protocol.PortIdentity
	T1     int64             // master's timescale, ns, corrected
	T2     timescale.Instant // L
	Window time.Duration     // half-width of T2
}

// DelayRequest is a DelayRecord whose departure has been placed on L.
type DelayRequest struct {
	Parent protocol.PortIdentity
	T3     timescale.Instant
	T4     int64
	Window time.Duration // half-width of T3
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
	stamps     stamps
	parent     protocol.PortIdentity
	started    bool
	last       Sync
	// pending are Syncs from before rate and delay were known, oldest first.
	pending []Sync
	// trial is the newest of outliers in a row.
	trial    sources.Optional[Sync]
	outliers int
	// queueing is the usual excess of the delay over the path's minimum.
	queueing time.Duration
	// delay is the newest one way delay, from requests of which the newest left at delayAt, and delayWindow what their
	// placement on L makes it unsure by.
	delay       time.Duration
	delayWindow time.Duration
	delayAt     sources.Optional[timescale.Instant]
	rate        rateEstimator
	requests    []DelayRequest
	minimum     delayMinimum
	transit     delayMinimum // peer-to-peer: forward transit alone
	peerDelay   time.Duration
	peerKnown   bool
}

// NewExchange returns an Exchange for one master at a time, with timestamps of a mode. With peerToPeer the
// path delay comes from SetPeerDelay, because ptp4l's event monitor does not report peer delay
// exchanges.
func NewExchange(peerToPeer bool, m Mode) *Exchange {
	x := Exchange{peerToPeer: peerToPeer, stamps: stampsOf(m)}
	x.Reset()
	return &x
}

// SetPeerDelay gives the mean link delay to the peer. Negative values are taken as 0.
func (x *Exchange) SetPeerDelay(d time.Duration) {
	x.peerDelay, x.peerKnown = max(d, 0), true
}

// Reset forgets everything: the next Sync may come from another master or a stepped one.
func (x *Exchange) Reset() {
	*x = Exchange{
		parent: x.parent, peerToPeer: x.peerToPeer, stamps: x.stamps, peerDelay: x.peerDelay, peerKnown: x.peerKnown,
		rate: rateEstimator{minSyncs: x.stamps.minSyncs, resolution: x.stamps.resolution},
	}
}

// follow makes parent the master of what comes next. What another one said is forgotten.
func (x *Exchange) follow(parent protocol.PortIdentity) {
	if parent != x.parent {
		x.Reset()
		x.parent = parent
	}
}

// Delay takes a delay request with its response, and returns what the Syncs measure that waited for it.
// Duplicates and those of another master are dropped; late ones are still good, as they are combined by
// time and not by order.
func (x *Exchange) Delay(d DelayRequest) []Measurement {
	if x.started && d.Parent != x.parent {
		return nil
	}
	x.follow(d.Parent)
	if slices.ContainsFunc(x.requests, func(o DelayRequest) bool { return o.T3 == d.T3 }) {
		return nil
	}
	x.requests = append(x.requests, d)
	slices.SortFunc(x.requests, func(a, b DelayRequest) int { return cmp.Compare(a.T3, b.T3) })
	x.requests = slices.Delete(x.requests, 0, max(0, len(x.requests)-delayWindow))
	return x.settle()
}

// Sync takes a Sync and returns what it measures, after those that waited with it: nothing while rate or
// delay are not known, and nothing for a duplicate or one out of order.
func (x *Exchange) Sync(s Sync) []Measurement {
	x.follow(s.Parent)
	if x.started && (!s.T2.After(x.last.T2) || s.T1 == x.last.T1 || s == x.trial.Or(Sync{})) {
		return nil
	}
	if x.onTrial(s) {
		return x.provisional(s)
	}
	x.started, x.last, x.trial, x.outliers = true, s, sources.None[Sync](), 0
	x.rate.add(s.T1, s.T2)
	x.pending = append(x.pending, s)
	x.pending = slices.Delete(x.pending, 0, max(0, len(x.pending)-pendingSyncs))
	return x.settle()
}

// settle measures by all Syncs that wait, as soon as it can be done by the newest.
func (x *Exchange) settle() []Measurement {
	r, ok := x.rate.rate()
	if !ok || len(x.pending) == 0 {
		return nil
	}
	var out []Measurement
	waiting := x.pending
	for _, s := range waiting {
		out = append(out, x.measureOne(s, r)...)
	}
	if n := len(out); n > 0 && out[n-1].At == waiting[len(waiting)-1].T2 {
		x.pending = x.pending[:0]
		return out
	}
	return nil
}

func (x *Exchange) measureOne(s Sync, r rate) []Measurement {
	if x.peerToPeer {
		return x.measurePeer(s, r)
	}
	return x.measure(s, r)
}

// onTrial reports whether the last Sync contradicts this one, which then enters nothing: it queued, or
// its stamp is wild. A second one that agrees with it means that the master's clock was stepped.
func (x *Exchange) onTrial(s Sync) bool {
	if !x.started || x.contradiction(x.last, s) == 0 {
		return false
	}
	if t, ok := x.trial.Get(); ok && x.contradiction(t, s) == 0 {
		x.stepped(t)
		return false
	}
	if x.outliers++; x.outliers > mostOutliers {
		x.Reset()
		return false
	}
	x.trial = sources.Some(s)
	return true
}

// contradiction is by how much the master's clock moved between two Syncs beyond what its rate and the
// queues explain, 0 for not at all.
func (x *Exchange) contradiction(a, b Sync) time.Duration {
	local := b.T2.Sub(a.T2)
	r, known := x.rate.rate()
	off := time.Duration(b.T1-a.T1) - time.Duration(math.Round(r.scale(local)))
	limit := maxRatePPB
	if known {
		limit = knownRateLimit
	}
	if off.Abs() <= x.stamps.outlier+queuesApart*x.queueing+time.Duration(float64(local)*float64(limit)*1e-9) {
		return 0
	}
	return off
}

// stepped makes t, which contradicted the last Sync, the last: the master's time was stepped, and its rate
// is what it was. Delay requests from before tell of the old time, or of the old path.
func (x *Exchange) stepped(t Sync) {
	x.rate.shift(int64(x.contradiction(x.last, t)))
	x.rate.add(t.T1, t.T2)
	x.last = t
	x.requests = slices.DeleteFunc(x.requests, func(q DelayRequest) bool { return q.T3.Before(t.T2) })
}

// provisional is what a Sync measures with the newest delay that is known.
func (x *Exchange) provisional(s Sync) []Measurement {
	r, ok := x.rate.rate()
	if !ok {
		return nil
	}
	if x.peerToPeer {
		return x.measurePeer(s, r)
	}
	at, ok := x.delayAt.Get()
	if !ok || s.T2.Sub(at) > delayMaxAge {
		return nil
	}
	return []Measurement{x.measurement(s, r, x.delay, s.T2.Sub(at))}
}

func (x *Exchange) measure(s Sync, r rate) []Measurement {
	delays, age, window := x.delays(s, r)
	if len(delays) == 0 {
		return x.provisional(s)
	}
	own := time.Duration(math.Round(median(delays)))
	if own < -negativeLeeway-rateError(r, age) {
		x.Reset()
		return nil
	}
	x.delay, x.delayWindow, x.delayAt = own, window/2, sources.Some(x.requests[len(x.requests)-1].T3)
	return []Measurement{x.measurement(s, r, own, age)}
}

// rateError is three standard deviations of what an error of the rate makes of a delay: it is a promise.
func rateError(r rate, age time.Duration) time.Duration {
	return time.Duration(3 * r.SD * 1e-9 * float64(age) / 2)
}

// measurement is that of a Sync and a one way delay, from requests so far away in time.
func (x *Exchange) measurement(s Sync, r rate, own, age time.Duration) Measurement {
	unsure := rateError(r, age)
	best := x.minimum.add(s.T2, own, unsure)
	queued := max(own-best, 0)
	x.queueing += (queued - x.queueing) / queueingMemory
	return Measurement{
		Parent:     s.Parent,
		At:         s.T2,
		Offset:     time.Duration(s.T1-int64(s.T2)) + own,
		Delay:      2 * max(best, 0),
		Dispersion: queued + unsure + x.stamps.resolution + s.Window + x.delayWindow,
		RatePPB:    r.PPB,
	}
}

// delays combines s with each recent request, and tells their median distance in time from s, over
// which an error of the rate acts, and the median half-width of their placement.
func (x *Exchange) delays(s Sync, r rate) (delays []float64, age, window time.Duration) {
	var ages, windows []float64
	for _, q := range x.requests {
		gap := s.T2.Sub(q.T3)
		if gap.Abs() > delayMaxAge {
			continue
		}
		delays = append(delays, (r.scale(gap)+float64(q.T4-s.T1))/2)
		ages, windows = append(ages, float64(gap.Abs())), append(windows, float64(q.Window))
	}
	if len(ages) > 0 {
		age, window = time.Duration(median(ages)), time.Duration(median(windows))
	}
	return delays, age, window
}

// measurePeer uses the link delay that ptp4l measured. What this Sync queued is the excess of its
// forward transit, t2 - t1 with the rate taken out, over the window's minimum.
func (x *Exchange) measurePeer(s Sync, r rate) []Measurement {
	if !x.peerKnown {
		return nil
	}
	offset := time.Duration(s.T1 - int64(s.T2))
	excess := x.transit.excess(s.T2, -offset, r)
	return []Measurement{{
		Parent:     s.Parent,
		At:         s.T2,
		Offset:     offset + x.peerDelay,
		Delay:      2 * x.peerDelay,
		Dispersion: excess + x.stamps.peerError + x.stamps.resolution + s.Window,
		RatePPB:    r.PPB,
	}}
}

// delayMinimum is the smallest of the recent values.
type delayMinimum struct {
	values []delayValue
}

type delayValue struct {
	at        timescale.Instant
	d, unsure time.Duration
}

func (m *delayMinimum) push(at timescale.Instant, d, unsure, maxAge time.Duration) {
	m.values = append(m.values, delayValue{at, d, unsure})
	first := max(0, len(m.values)-minimumWindow)
	for at.Sub(m.values[first].at) > maxAge {
		first++
	}
	m.values = slices.Delete(m.values, 0, first)
}

// add returns the minimum of the window with d in it, which is unsure by so much: that of which it is surest
// that no other is less. The first, measured with a rate of two Syncs, would else be the minimum for a minute.
func (m *delayMinimum) add(at timescale.Instant, d, unsure time.Duration) time.Duration {
	m.push(at, d, unsure, minimumMaxAge)
	best := slices.MinFunc(m.values, func(a, b delayValue) int { return cmp.Compare(a.d+a.unsure, b.d+b.unsure) })
	return best.d
}

// excess returns how far d lies above the smallest value of the rate's window, each value brought
// to the same instant with the rate.
func (m *delayMinimum) excess(at timescale.Instant, d time.Duration, r rate) time.Duration {
	m.push(at, d, 0, rateMaxSpan)
	var most time.Duration
	for _, v := range m.values {
		drift := time.Duration(r.PPB * 1e-9 * float64(at.Sub(v.at)))
		most = max(most, d-(v.d-drift))
	}
	return most
}
