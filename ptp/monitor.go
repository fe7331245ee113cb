package ptp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Options are the intervals of a Monitor. The zero value has the defaults.
type Options struct {
	Poll time.Duration // between polls of the data sets, default 1s, at least 100ms
	PHC  time.Duration // between readings of the PHC beside those for each timestamp, default 250ms, at least 62.5ms
}

func (o Options) withDefaults() Options {
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.PHC == 0 {
		o.PHC = 250 * time.Millisecond
	}
	o.Poll, o.PHC = max(o.Poll, 100*time.Millisecond), max(o.PHC, 62500*time.Microsecond)
	return o
}

const (
	// Without a sample for freshFactor intervals, at least freshMin, a port that follows a master
	// measures nothing any more.
	freshFactor = 4
	freshMin    = 3 * time.Second
	freshMax    = 30 * time.Second
	// toleratedMisses polls may go unanswered on a busy host before the engine counts as hung. One
	// that is gone is known at once, by its socket.
	toleratedMisses = 2
)

// Monitor watches one ptp4l instance and reports one source per interface. It does not care whether
// ptp4l runs, restarts or hangs: that shows as a Report.
type Monitor struct {
	cfg  Config
	opts Options
	host HostClock
	log  *slog.Logger

	// All below is owned by the goroutine in Run.
	exchange *Exchange
	phc      phcTrack
	phcError error
	snapshot *Snapshot // nil while ptp4l does not answer
	missed   int       // consecutive polls that were not answered in time, while one was before
	syncs    int       // Syncs since the last sample
	fresh    freshness
	// measuring: the newest reports have a source that measures. One that begins to says so at once.
	measuring bool
}

// NewMonitor returns the monitor of the instance that c describes.
func NewMonitor(c Config, host HostClock, o Options, log *slog.Logger) *Monitor {
	return &Monitor{
		cfg:      c,
		opts:     o.withDefaults(),
		host:     host,
		log:      log.With("engine", "ptp4l", "interface", c.Interfaces[0], "domain", c.Domain),
		exchange: NewExchange(c.DelayMechanism == "P2P", c.Mode),
	}
}

// Run sends samples as they come and a report per source at each poll, until ctx ends; then it
// returns nil. It never gives up on its own.
func (m *Monitor) Run(ctx context.Context, out chan<- sources.Update) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()

	pollC, wakeC := make(chan pollResult), make(chan struct{}, 1)
	p := poller{cfg: m.cfg, interval: m.opts.Poll, log: m.log}
	workers.Go(func() { p.run(ctx, wakeC, pollC) })
	received, stampedC := make(chan Records), make(chan stamped)
	workers.Go(func() { receiveRecords(ctx, m.cfg.EventMonitorSocket(), m.log, received) })
	recordC := received
	if m.cfg.Mode == Hardware {
		recordC = nil // they come with a reading of the PHC
		workers.Go(func() { readPHC(ctx, m.cfg.Interfaces[0], m.host, m.opts.PHC, received, stampedC) })
	}
	for {
		var u sources.Update
		select {
		case <-ctx.Done():
			return nil
		case r := <-pollC:
			u = m.polled(r)
		case r := <-recordC:
			u = m.received(r, wakeC)
		case r := <-stampedC:
			u = m.read(r, wakeC)
		}
		if len(u.Samples)+len(u.Reports) == 0 {
			continue
		}
		select {
		case out <- u:
		case <-ctx.Done():
			return nil
		}
	}
}

// polled takes the outcome of a poll and reports on every source.
func (m *Monitor) polled(r pollResult) sources.Update {
	now := m.host.Now()
	if errors.Is(r.err, context.DeadlineExceeded) && m.snapshot != nil && m.missed < toleratedMisses {
		m.missed++
		return sources.Update{}
	}
	m.missed = 0
	if r.err != nil {
		// What an engine that is gone measured does not make its successor fresh.
		m.snapshot, m.syncs, m.fresh = nil, 0, freshness{}
		return m.reports(now, func(int) (sources.Condition, string) {
			return sources.Unreachable, "ptp4l does not answer: " + r.err.Error()
		})
	}
	m.snapshot = &r.snapshot
	if port := activePort(r.snapshot.Ports); port >= 0 {
		if d := interval(r.snapshot.Ports[port].Data.PeerMeanPathDelay); d != 0 {
			m.exchange.SetPeerDelay(d)
		}
	}
	return m.reports(now, func(i int) (sources.Condition, string) { return m.condition(now, i) })
}

func (m *Monitor) reports(now timescale.Instant, condition func(port int) (sources.Condition, string)) sources.Update {
	u := sources.Update{Answered: m.snapshot != nil}
	m.measuring = false
	for i, name := range m.cfg.Interfaces {
		r := sources.Report{Source: SourceID(name, m.cfg.Domain), At: now}
		r.Condition, r.Detail = condition(i)
		m.measuring = m.measuring || r.Condition == sources.Measuring
		if m.snapshot != nil {
			r.Quality = quality(*m.snapshot)
		}
		u.Reports = append(u.Reports, r)
	}
	return u
}

// condition judges one port by its state, then by whether its time is usable and samples are fresh.
func (m *Monitor) condition(now timescale.Instant, port int) (sources.Condition, string) {
	c, words := portCondition(m.snapshot.Ports[port].Data.PortState)
	if c != sources.Measuring {
		// A client's port that hears the master of another is LISTENING, as one that hears nothing.
		if other := activePort(m.snapshot.Ports); other >= 0 && m.snapshot.Ports[port].Data.PortState == protocol.PortStateListening {
			words += ", or " + m.cfg.Interfaces[other] + ", which shares its PHC, is in use"
		}
		return c, words
	}
	if _, unknown := utcOffset(*m.snapshot, m.cfg.UTCOffset); unknown != "" {
		return sources.Unsynchronised, unknown
	}
	if m.phcError != nil {
		return sources.Unsynchronised, m.phcError.Error()
	}
	if age, ok := m.fresh.age(now); !ok {
		return sources.Unsynchronised, fmt.Sprintf("%s, no measurement yet: %d Sync received, %s", words, m.syncs, m.missing())
	} else if age > m.fresh.limit() {
		return sources.Unsynchronised, fmt.Sprintf("%s, last measurement %v ago: %d Sync received since, %s", words, age.Round(100*time.Millisecond), m.syncs, m.missing())
	}
	return sources.Measuring, words
}

// missing says what a measurement waits for.
func (m *Monitor) missing() string {
	switch {
	case m.syncs == 0:
		return "waiting for Sync and Follow_Up"
	case m.exchange.peerToPeer && !m.exchange.peerKnown:
		return "waiting for the peer delay"
	case !m.exchange.peerToPeer && len(m.exchange.requests) == 0:
		return "waiting for Delay_Resp"
	}
	return "waiting for the rate of the master"
}

// read takes a reading of the PHC, and the records that it was made for.
func (m *Monitor) read(s stamped, wakeC chan<- struct{}) sources.Update {
	if m.phcError = s.err; s.err != nil {
		m.phc = phcTrack{}
		return sources.Update{}
	}
	if by := m.phc.observe(s.reading); by != 0 {
		m.log.Debug("PHC was stepped or slewed", "by_ns", int64(by))
	}
	return m.received(s.records, wakeC)
}

// local places a timestamp on L, with its half-width.
func (m *Monitor) local(ns int64) (timescale.Instant, time.Duration, error) {
	if m.cfg.Mode == Hardware {
		return m.phc.local(ns)
	}
	at, err := m.host.Local(ns)
	return at, 0, err
}

// received takes the records of one datagram; requests first, as they can only help.
func (m *Monitor) received(r Records, wakeC chan<- struct{}) sources.Update {
	var found []Measurement
	for _, d := range r.Delays {
		t3, window, err := m.local(d.T3)
		if err != nil {
			m.log.Debug("delay request dropped", "error", err)
			continue
		}
		found = append(found, m.exchange.Delay(DelayRequest{Parent: d.Parent, T3: t3, T4: d.T4, Window: window})...)
	}
	for _, s := range r.Syncs {
		m.syncs++
		t2, window, err := m.local(s.T2)
		if err != nil {
			m.log.Debug("sync dropped", "error", err)
			continue
		}
		found = append(found, m.exchange.Sync(Sync{Parent: s.Parent, T1: s.T1, T2: t2, Window: window})...)
	}
	var u sources.Update
	for _, v := range found {
		u.Samples = append(u.Samples, m.measured(v, wakeC)...)
	}
	if len(u.Samples) > 0 && !m.measuring {
		now := m.host.Now()
		u.Reports = m.reports(now, func(i int) (sources.Condition, string) { return m.condition(now, i) }).Reports
	}
	return u
}

// measured makes the sample of one measurement, or none: before the data sets of the same master are
// known, its timescale is not, and TAI taken for UTC is 37 s wrong.
func (m *Monitor) measured(v Measurement, wakeC chan<- struct{}) []sources.Sample {
	port := 0
	if m.snapshot != nil && len(m.cfg.Interfaces) > 1 {
		port = activePort(m.snapshot.Ports)
	}
	if m.snapshot == nil || port < 0 || m.snapshot.Parent.ParentPortIdentity != v.Parent {
		select {
		case wakeC <- struct{}{}:
		default:
		}
		return nil
	}
	utc, unknown := utcOffset(*m.snapshot, m.cfg.UTCOffset)
	if unknown != "" {
		return nil
	}
	return []sources.Sample{m.sample(port, sources.Sample{
		At:         v.At,
		Offset:     v.Offset - utc,
		Delay:      sources.Some(v.Delay),
		Dispersion: v.Dispersion,
	})}
}

// sample completes a sample of a port with its source and quality.
func (m *Monitor) sample(port int, s sources.Sample) sources.Sample {
	s.Source = SourceID(m.cfg.Interfaces[port], m.cfg.Domain)
	s.Quality = quality(*m.snapshot)
	m.syncs = 0
	m.fresh.saw(s.At)
	return s
}

// freshness tells when samples have stopped, by the interval at which they came.
type freshness struct {
	last     sources.Optional[timescale.Instant]
	interval time.Duration
}

func (f *freshness) saw(at timescale.Instant) {
	if last, ok := f.last.Get(); ok {
		f.interval = at.Sub(last)
	}
	f.last = sources.Some(at)
}

func (f *freshness) age(now timescale.Instant) (time.Duration, bool) {
	last, ok := f.last.Get()
	return now.Sub(last), ok
}

func (f *freshness) limit() time.Duration {
	return min(max(freshFactor*f.interval, freshMin), freshMax)
}
