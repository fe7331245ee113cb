package ptp

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/facebook/time/ptp/protocol"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Snapshot is everything that one poll learnt from ptp4l.
type Snapshot struct {
	At         timescale.Instant
	Default    protocol.DefaultDataSetTLV
	Time       protocol.TimeStatusNPTLV
	Current    protocol.CurrentDataSetTLV
	Parent     protocol.ParentDataSetTLV
	Properties TimeProperties
	Ports      []PortStatus // in the order of Config.Interfaces
}

// PortStatus is what is known of one port.
type PortStatus struct {
	Data PortDataSet
	// Stats and Properties are absent where ptp4l refuses them.
	Stats      sources.Optional[protocol.PortStats]
	Properties sources.Optional[PortProperties]
}

// pollTimeout bounds a whole poll. ptp4l answers within a millisecond unless it waits for a
// transmit timestamp, up to txTimestampTimeout per message.
const pollTimeout = 800 * time.Millisecond

// getter is a Client, or a fake of one.
type getter interface {
	Get(ctx context.Context, port uint16, id protocol.ManagementID) (Message, error)
}

// poll reads all data sets of an engine with the given number of ports. A refusal of a data set
// that is not needed is not an error.
func poll(ctx context.Context, c getter, ports int) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var s Snapshot
	steps := []func() error{
		func() (err error) { s.Time, err = get[protocol.TimeStatusNPTLV](ctx, c, 1, idTimeStatusNP); return },
		func() (err error) {
			s.Default, err = get[protocol.DefaultDataSetTLV](ctx, c, 1, idDefaultDataSet)
			return
		},
		func() (err error) {
			s.Current, err = get[protocol.CurrentDataSetTLV](ctx, c, 1, idCurrentDataSet)
			return
		},
		func() (err error) { s.Parent, err = get[protocol.ParentDataSetTLV](ctx, c, 1, idParentDataSet); return },
		func() (err error) {
			s.Properties, err = get[TimeProperties](ctx, c, 1, idTimePropertiesDataSet)
			return
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return Snapshot{}, fmt.Errorf("poll ptp4l: %w", err)
		}
	}
	for i := range ports {
		p, err := pollPort(ctx, c, uint16(i+1))
		if err != nil {
			return Snapshot{}, fmt.Errorf("poll ptp4l: port %d: %w", i+1, err)
		}
		s.Ports = append(s.Ports, p)
	}
	return s, nil
}

func pollPort(ctx context.Context, c getter, port uint16) (p PortStatus, err error) {
	if p.Data, err = get[PortDataSet](ctx, c, port, idPortDataSet); err != nil {
		return p, err
	}
	if m, err := c.Get(ctx, port, idPortStatsNP); err == nil {
		if v, err := portStats(m); err == nil {
			p.Stats = sources.Some(v)
		}
	}
	if m, err := c.Get(ctx, port, idPortPropertiesNP); err == nil {
		if v, err := portProperties(m); err == nil {
			p.Properties = sources.Some(v)
		}
	}
	return p, nil
}

func get[T any](ctx context.Context, c getter, port uint16, id protocol.ManagementID) (T, error) {
	m, err := c.Get(ctx, port, id)
	if err != nil {
		var none T
		return none, err
	}
	return dataSet[T](m)
}

type pollResult struct {
	snapshot Snapshot
	err      error
}

// poller polls ptp4l at a fixed interval, or earlier when woken, and redials when its own socket
// is gone or ptp4l is silent.
type poller struct {
	cfg      Config
	interval time.Duration
	log      *slog.Logger

	client     *Client
	failed     int       // consecutive polls without an answer
	subscribed time.Time // of the last subscription to notifications
}

const (
	// redialAfter consecutive failures the socket is bound anew: its file may have been replaced.
	redialAfter = 5
	// subscribeFor notifications are asked for, and renewed after half of it.
	subscribeFor = 60 * time.Second
	// wakeSpacing is the shortest time between polls, however often it is woken.
	wakeSpacing = 100 * time.Millisecond
)

func (p *poller) run(ctx context.Context, wakeC <-chan struct{}, out chan<- pollResult) {
	defer p.hangUp()
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for {
		r := p.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case out <- r:
		case <-ctx.Done():
			return
		}
		if !pause(ctx, wakeSpacing) {
			return
		}
		select {
		case <-ticker.C:
		case <-wakeC:
		case <-p.notified():
		case <-ctx.Done():
			return
		}
	}
}

func (p *poller) poll(ctx context.Context) pollResult {
	if p.client != nil && (p.failed >= redialAfter || removed(p.cfg.ManagementSocket())) {
		p.hangUp()
	}
	if p.client == nil {
		c, err := DialManagement(p.cfg.ManagementSocket(), p.cfg.EngineSocket(), uint8(p.cfg.Domain), p.log)
		if err != nil {
			return pollResult{err: err}
		}
		p.client, p.failed = c, 0
	}
	s, err := poll(ctx, p.client, len(p.cfg.Interfaces))
	if err != nil {
		p.failed++
		p.subscribed = time.Time{} // the next engine does not know of it
		return pollResult{err: err}
	}
	p.failed = 0
	p.subscribe(ctx)
	return pollResult{snapshot: s}
}

// subscribe asks to be told of changes at once. Without it, the next poll finds them.
func (p *poller) subscribe(ctx context.Context) {
	if time.Since(p.subscribed) < subscribeFor/2 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	p.subscribed = time.Now()
	if err := p.client.Subscribe(ctx, subscribeFor); err != nil {
		p.log.Debug("no notifications from ptp4l", "error", err)
	}
}

// notified is ready when ptp4l sent something unasked: a state changed, so look at once.
func (p *poller) notified() <-chan Message {
	if p.client == nil {
		return nil
	}
	return p.client.Notifications()
}

func (p *poller) hangUp() {
	if p.client == nil {
		return
	}
	if err := p.client.Close(); err != nil {
		p.log.Debug("close management socket", "error", err)
	}
	p.client = nil
}

// pause waits, and reports whether it was not cut short.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
