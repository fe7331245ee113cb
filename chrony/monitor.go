package chrony

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// The limits of the poll period: a second is soon enough for NTP, and four dumps a second are cheap.
const (
	slowestPeriod = time.Second
	fastestPeriod = 250 * time.Millisecond
)

// maxDumpBytes bounds what is read of a dump file; 64 samples have less than 8 KiB.
const maxDumpBytes = 64 << 10

// maxCorrection is how far chronyd's clock may be from CLOCK_REALTIME while its samples count as
// raw. With the rendered configuration it is exactly 0.
const maxCorrection = time.Microsecond

// HostClock knows the system clock on L.
type HostClock interface {
	// Now returns the present instant.
	Now() timescale.Instant
	// Local returns the instant at which CLOCK_REALTIME read realtimeNS, or an error when what is
	// known of the system clock does not reach that far.
	Local(realtimeNS int64) (timescale.Instant, error)
}

// Monitor reads what one chronyd measures. It outlives any number of chronyds.
type Monitor struct {
	config Config
	client *Client
	clock  HostClock
	log    *slog.Logger
	period time.Duration
	known  map[sources.ID]*track
	// named is what chronyd has said of its sources that does not change while it has them.
	named map[Address]naming
	// undumped: the last dump did not come, or not whole.
	undumped bool
	// trouble is the last error of the whole daemon, for logging its edges.
	trouble string
}

// track is what is remembered of one source from poll to poll.
type track struct {
	source   Source
	counters counters
	// seen are the times of the samples in the last dump. A sample is new when its time is not
	// among them: after a backward step of the system clock, new samples have smaller times.
	seen []int64
	// trouble is the last error with the dump, for logging its edges.
	trouble string
	polled  bool
}

// naming is what chronyd has said of one of its sources.
type naming struct {
	name string
	// plain: its packets are not authenticated.
	plain bool
}

// NewMonitor returns the monitor of the chronyd that runs with c.
func NewMonitor(c Config, clock HostClock, log *slog.Logger) *Monitor {
	return &Monitor{config: c, client: NewClient(c.CommandSocket(), c.MonitorSocket()), clock: clock, log: log,
		period: monitorPeriod(c.Servers), known: map[sources.ID]*track{}}
}

// monitorPeriod follows the fastest server, within the limits.
func monitorPeriod(servers []Server) time.Duration {
	return min(max(pollInterval(fastestPoll(servers)), fastestPeriod), slowestPeriod)
}

// Run sends an Update at each period until ctx ends, and returns its error. A chronyd that does not
// answer is no error: its sources are reported Unreachable until it does.
func (m *Monitor) Run(ctx context.Context, out chan<- sources.Update) error {
	defer m.client.Close()
	tick := time.NewTicker(m.period)
	defer tick.Stop()
	for {
		update := m.Poll(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case out <- update:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Poll reads chronyd once: the samples that are new since the last poll, and a report for every
// source, sorted by ID.
func (m *Monitor) Poll(ctx context.Context) sources.Update {
	for _, t := range m.known {
		t.polled = false
	}
	var update sources.Update
	views, err := m.readSources(ctx)
	if ctx.Err() == nil {
		m.noteTrouble(err)
	}
	if err != nil {
		m.named, m.undumped = nil, true // it may be another chronyd that answers next
		m.reportAll(&update, "chronyd does not answer: "+err.Error())
	} else {
		update.Answered = true
		for _, v := range views {
			m.take(&update, v)
		}
		m.reportMissing(&update)
	}
	slices.SortStableFunc(update.Samples, func(a, b sources.Sample) int { return strings.Compare(string(a.Source), string(b.Source)) })
	slices.SortStableFunc(update.Reports, func(a, b sources.Report) int { return strings.Compare(string(a.Source), string(b.Source)) })
	return update
}

// view is what chronyd tells of one source in one poll.
type view struct {
	id     sources.ID
	source Source
	ntp    NTPData
	auth   AuthData
	// drifted is set when chronyd's clock has departed from CLOCK_REALTIME: no sample is raw.
	drifted time.Duration
	// dumped: the dump is of now.
	dumped bool
}

// readSources asks for everything that a dump does not have, and makes chronyd dump where that shows that
// there may be something new in it: a second has no sample of a server that is polled each minute.
func (m *Monitor) readSources(ctx context.Context) ([]view, error) {
	list, err := m.client.Sources(ctx)
	if err != nil {
		return nil, err
	}
	var views []view
	known := m.named
	m.named = make(map[Address]naming, len(list))
	for _, s := range list {
		if s.Refclock {
			continue
		}
		v, err := m.readSource(ctx, s, known)
		if isVanished(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if v.id != "" && !slices.ContainsFunc(views, func(o view) bool { return o.id == v.id }) {
			views = append(views, v)
		}
	}
	views = withoutIdlePools(views)
	dump := m.undumped || slices.ContainsFunc(views, m.moved)
	if dump {
		if err := m.client.Dump(ctx); err != nil {
			return nil, err
		}
		m.undumped = false
	}
	tracking, err := m.client.Tracking(ctx)
	if err != nil {
		return nil, err
	}
	drifted := seconds(tracking.CurrentCorrection)
	if math.Abs(tracking.CurrentCorrection) > maxDumpSeconds {
		drifted = maxDumpSeconds * time.Second
	}
	for i := range views {
		views[i].drifted, views[i].dumped = drifted, dump
	}
	return views, nil
}

// moved reports whether chronyd has heard of the source, or has a new sample of it, since the last poll.
func (m *Monitor) moved(v view) bool {
	t := m.known[v.id]
	if t == nil || t.source.Address != v.source.Address || t.source.Latest != v.source.Latest {
		return true
	}
	was, is := t.counters.last, v.ntp
	return was.Received != is.Received || was.Valid != is.Valid || was.Good != is.Good
}

// readSource asks for one source, but for what is known of it. Its ID is empty when the configuration does not have it.
func (m *Monitor) readSource(ctx context.Context, s Source, known map[Address]naming) (v view, err error) {
	n, again := known[s.Address]
	if !again {
		if n.name, err = m.client.SourceName(ctx, s.Address); err != nil {
			return view{}, err
		}
	}
	v = view{id: identify(m.config.Servers, n.name, s.Address), source: s}
	if v.id != "" && s.Address.Resolved() {
		if v.ntp, err = m.client.NTPData(ctx, s.Address); err != nil {
			return view{}, err
		}
		if !n.plain {
			if v.auth, err = m.client.AuthData(ctx, s.Address); err != nil {
				return view{}, err
			}
			n.plain = v.auth.Mode == AuthNone
		}
	}
	m.named[s.Address] = n
	return v, nil
}

// identify returns the ID of the source that chronyd knows by name and address: of the server that
// was configured with this name, or else with this address.
func identify(servers []Server, name string, a Address) sources.ID {
	i := slices.IndexFunc(servers, func(s Server) bool { return strings.EqualFold(s.Address, name) })
	if i < 0 && a.Resolved() {
		i = slices.IndexFunc(servers, func(s Server) bool {
			ip, err := netip.ParseAddr(s.Address)
			return err == nil && ip == a.IP
		})
	}
	if i < 0 {
		return ""
	}
	if servers[i].Pool && a.Resolved() {
		return sources.ID(servers[i].ID() + "/" + a.IP.String())
	}
	return sources.ID(servers[i].ID())
}

// withoutIdlePools drops the places of a pool that have no address, unless the pool has no member at
// all: then the pool itself is the source that is not resolved.
func withoutIdlePools(views []view) []view {
	return slices.DeleteFunc(views, func(v view) bool {
		return !v.source.Address.Resolved() && slices.ContainsFunc(views, func(o view) bool {
			return strings.HasPrefix(string(o.id), string(v.id)+"/")
		})
	})
}

// take adds the samples and the report of one source.
func (m *Monitor) take(update *sources.Update, v view) {
	t := m.known[v.id]
	if t == nil {
		t = &track{}
		m.known[v.id] = t
	}
	now := m.clock.Now()
	t.polled = true
	samples, gained, err := m.newSamples(t, v)
	m.undumped = m.undumped || err != nil
	t.source = v.source
	t.counters.advance(v.ntp, gained, now)
	update.Samples = append(update.Samples, samples...)

	r := sources.Report{Source: v.id, At: now, Reach: sources.Some(v.source.Reach), Quality: packetQuality(v.ntp, v.auth)}
	r.Condition, r.Detail = condition(v.source, v.auth, &t.counters, now)
	if v.drifted.Abs() > maxCorrection && r.Condition == sources.Measuring {
		r.Condition = sources.Unsynchronised
		r.Detail = fmt.Sprintf("samples are not raw: chronyd's clock is %s from CLOCK_REALTIME", v.drifted)
	}
	if err != nil {
		r.Detail = strings.TrimPrefix(r.Detail+"; "+err.Error(), "; ")
	}
	m.noteSourceTrouble(v.id, t, err)
	update.Reports = append(update.Reports, r)
}

// newSamples returns what the dump of a source has that it did not have before; gained is set when
// there was anything, usable or not. An error may come with samples: those before the cut of a
// truncated dump.
func (m *Monitor) newSamples(t *track, v view) (out []sources.Sample, gained bool, err error) {
	if !v.source.Address.Resolved() || !v.dumped {
		return nil, false, nil
	}
	dump, err := readDump(m.config.DumpDir(), v.source.Address.IP)
	if dump == nil {
		return nil, false, err
	}
	fresh := t.unseen(dump.Samples)
	t.remember(dump.Samples, err == nil)
	if v.drifted.Abs() > maxCorrection {
		return nil, len(fresh) > 0, err
	}
	quality := sampleQuality(dump, v.ntp, v.auth)
	for _, s := range fresh {
		at, localErr := m.clock.Local(s.RealtimeNS)
		if localErr != nil {
			m.log.Debug("chronyd sample dropped", "source", v.id, "realtime_ns", s.RealtimeNS, "error", localErr)
			continue
		}
		out = append(out, NewSample(v.id, s, at, quality))
	}
	return out, len(fresh) > 0, err
}

// unseen returns the samples that the last dump did not have.
func (t *track) unseen(samples []DumpSample) []DumpSample {
	var fresh []DumpSample
	for _, s := range samples {
		if !slices.Contains(t.seen, s.RealtimeNS) {
			fresh = append(fresh, s)
		}
	}
	return fresh
}

// remember replaces what was seen by what a whole dump has. A dump that was cut only adds: what it
// lacks will be there again.
func (t *track) remember(samples []DumpSample, whole bool) {
	if whole {
		t.seen = t.seen[:0]
	}
	for _, s := range samples {
		if !slices.Contains(t.seen, s.RealtimeNS) {
			t.seen = append(t.seen, s.RealtimeNS)
		}
	}
}

// readDump reads the dump of one address. There is none, and no error, before the first sample. The
// directory belongs to chronyd's user, so that links and pipes are not followed.
func readDump(dir string, ip netip.Addr) (*Dump, error) {
	path := filepath.Join(dir, ip.String()+".dat")
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read chronyd's samples: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDumpBytes))
	if err != nil {
		return nil, fmt.Errorf("read chronyd's samples: %w", err)
	}
	dump, err := ParseDump(data)
	if err != nil {
		err = fmt.Errorf("read chronyd's samples from %s: %w", path, err)
	}
	return dump, err
}

// reportAll reports every source Unreachable, whether chronyd ever listed it or not.
func (m *Monitor) reportAll(update *sources.Update, detail string) {
	for id := range m.known {
		update.Reports = append(update.Reports, m.unreachable(id, detail))
	}
	for _, s := range m.config.Servers {
		if id := sources.ID(s.ID()); m.known[id] == nil && !m.hasMember(id) {
			update.Reports = append(update.Reports, m.unreachable(id, detail))
		}
	}
}

// reportMissing reports the sources that were in the last list and are not in this one, once, and
// the configured servers that chronyd does not list, always.
func (m *Monitor) reportMissing(update *sources.Update) {
	for _, id := range m.forgetUnpolled() {
		if !m.isConfigured(id) {
			update.Reports = append(update.Reports, m.unreachable(id, "chronyd no longer has it"))
		}
	}
	for _, s := range m.config.Servers {
		if id := sources.ID(s.ID()); m.known[id] == nil && !m.hasMember(id) {
			update.Reports = append(update.Reports, m.unreachable(id, "chronyd does not have it: its address may be another server's too"))
		}
	}
}

// forgetUnpolled drops what was not in this poll's list, and returns it.
func (m *Monitor) forgetUnpolled() []sources.ID {
	var gone []sources.ID
	for id, t := range m.known {
		if !t.polled {
			gone = append(gone, id)
			delete(m.known, id)
		}
	}
	return gone
}

// isConfigured reports whether id is a server, or a pool that has no members.
func (m *Monitor) isConfigured(id sources.ID) bool {
	return !m.hasMember(id) && slices.ContainsFunc(m.config.Servers, func(s Server) bool { return s.ID() == string(id) })
}

// hasMember reports whether a member of this pool is known.
func (m *Monitor) hasMember(pool sources.ID) bool {
	for id := range m.known {
		if strings.HasPrefix(string(id), string(pool)+"/") {
			return true
		}
	}
	return false
}

func (m *Monitor) unreachable(id sources.ID, detail string) sources.Report {
	return sources.Report{Source: id, At: m.clock.Now(), Condition: sources.Unreachable, Detail: detail}
}

// noteTrouble logs the edges between a chronyd that answers and one that does not.
func (m *Monitor) noteTrouble(err error) {
	text := errorText(err)
	if text == m.trouble {
		return
	}
	m.trouble = text
	if err != nil {
		m.log.Warn("chronyd does not answer", "socket", m.config.CommandSocket(), "error", err)
		return
	}
	m.log.Info("chronyd answers", "socket", m.config.CommandSocket())
}

// noteSourceTrouble logs the edges between dumps that can be read and those that cannot.
func (m *Monitor) noteSourceTrouble(id sources.ID, t *track, err error) {
	text := errorText(err)
	if text == t.trouble {
		return
	}
	t.trouble = text
	if err != nil {
		m.log.Warn("chronyd's samples cannot be read", "source", id, "error", err)
		return
	}
	m.log.Info("chronyd's samples can be read again", "source", id)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
