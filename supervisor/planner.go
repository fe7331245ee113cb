package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/configs"
)

const (
	// reprobeEvery is how often the interfaces, and what is missing, are looked at again: what the kernel
	// announces comes at once, what it does not within this time.
	reprobeEvery = 10 * time.Second
	// probeTimeout bounds one look at the host.
	probeTimeout = 5 * time.Second
	// linkSettle is the wait after a change of an interface, which rarely comes alone.
	linkSettle = 200 * time.Millisecond
	// linkPatience bounds that wait.
	linkPatience = 2 * time.Second
)

// errReloadRefused marks a new configuration that was not taken: the old one stays in force.
var errReloadRefused = errors.New("reload refused")

// order is what the control loop works to.
type order struct {
	plan    Plan
	arbiter arbiter.Config
}

// planner keeps plan, engines and control loop in step with the configuration and with what the host
// has and can do. One goroutine runs it.
type planner struct {
	cfg    *configs.Config
	plan   Plan
	load   func() (*configs.Config, error)
	probe  func(context.Context, *configs.Config, Facts) Facts
	fleet  *fleet
	orderC chan<- order
	// reread has the leap second table of a setting read again.
	reread func(setting string)
	// linkC says that a network interface has changed, reloadC that the configuration shall be read.
	linkC   <-chan string
	reloadC <-chan chan error
	record  recorder
	notify  func(string) bool
	log     *slog.Logger
}

// run plans anew where there is a reason to, until ctx is done.
func (p *planner) run(ctx context.Context) {
	tick := time.NewTicker(reprobeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look(ctx, "")
		case link := <-p.linkC:
			p.look(ctx, p.settled(ctx, link))
		case answerC := <-p.reloadC:
			answerC <- p.reload(ctx) // buffered: who asked may have gone
		}
	}
}

// settled waits until no interface has changed for a while, but not for one that never rests, and
// returns the first that did.
func (p *planner) settled(ctx context.Context, first string) string {
	enough := time.After(linkPatience)
	for {
		select {
		case <-p.linkC:
		case <-ctx.Done():
			return first
		case <-enough:
			return first
		case <-time.After(linkSettle):
			return first
		}
	}
}

// look probes the host and acts where the plan is another one now. link is the interface that changed,
// empty when it is only time to look.
func (p *planner) look(ctx context.Context, link string) {
	before := p.plan
	plan := p.draw(ctx, p.cfg, before.facts)
	if ctx.Err() != nil {
		return // what was probed half is not what the host is like
	}
	did := p.put(ctx, p.cfg, plan)
	if did.none() {
		return
	}
	p.record.replanned(did, before, plan, link)
}

// draw makes the plan of a configuration for the host as it is now.
func (p *planner) draw(ctx context.Context, cfg *configs.Config, known Facts) Plan {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return NewPlan(cfg, p.probe(ctx, cfg, known))
}

// put makes the plan the one in force.
func (p *planner) put(ctx context.Context, cfg *configs.Config, plan Plan) changes {
	p.cfg, p.plan = cfg, plan
	did := p.fleet.apply(ctx, cfg, plan)
	select {
	case p.orderC <- order{plan: plan, arbiter: arbiterConfig(cfg)}:
	case <-ctx.Done():
	}
	return did
}

// reload reads the configuration and puts what is new in it into force. A configuration with anything
// wrong in it changes nothing; the error says what and is in the journal.
func (p *planner) reload(ctx context.Context) error {
	p.notify(reloadingNow())
	defer p.notify("READY=1")
	cfg, err := p.load()
	if err == nil {
		err = needsRestart(p.cfg, cfg)
	}
	if err != nil {
		err = fmt.Errorf("%w, the configuration in force stays: %w", errReloadRefused, err)
		p.record.reloadRefused(err)
		return err
	}
	did := p.put(ctx, cfg, p.draw(ctx, cfg, p.stillKnown(cfg)))
	p.fleet.retry()
	p.reread(cfg.Arbiter.LeapTable)
	p.record.reloaded(did)
	return nil
}

// stillKnown is what of the facts holds for another configuration too: a program or user that is named as
// before is not looked for again, so that a look that goes wrong costs no engine its life.
func (p *planner) stillKnown(cfg *configs.Config) Facts {
	known := p.plan.facts
	if cfg.NTP.Chronyd != p.cfg.NTP.Chronyd {
		known.Chronyd = Program{}
	}
	if cfg.NTP.User != p.cfg.NTP.User {
		known.ChronyUser = User{}
	}
	if cfg.PTP.PTP4L != p.cfg.PTP.PTP4L {
		known.PTP4L = Program{}
	}
	if cfg.PTP.User != p.cfg.PTP.User {
		known.PTPUser = User{}
	}
	return known
}

// needsRestart names the settings that the running supervisor cannot change: the clock and its owner
// are one from start to end, and files stay where clients look for them.
func needsRestart(old, wanted *configs.Config) error {
	var errs []error
	add := func(key string, same bool) {
		if !same {
			errs = append(errs, fmt.Errorf("%s has changed, which takes effect with a restart only", key))
		}
	}
	a, b := old.Clock, wanted.Clock
	a.Step, b.Step = configs.Step{}, configs.Step{}
	add("a key of [clock] outside of [clock.step]", a == b)
	add("a key of [paths]", old.Paths == wanted.Paths)
	add("a key of [record]", old.Record == wanted.Record)
	add("a key of [record]", old.Record == wanted.Record)
	add("a key of [log]", old.Log == wanted.Log)
	return errors.Join(errs...)
}
