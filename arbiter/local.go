package arbiter

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// locally is what is remembered of the host itself.
type locally struct {
	before  timescale.Instant
	system  time.Duration // the steered clock - L before, with the step that was ordered then
	known   bool
	moved   time.Duration // by which the steered clock moved against L, and nobody here ordered it
	movedAt timescale.Instant
	rate    average // of the target, ppb
}

const (
	// pausedFor is the least gap between two steps that is named.
	pausedFor = 5 * time.Second
	// movedLeast is the least movement of the steered clock that is taken for one of L, and movedFor how
	// long the sources have to confirm it.
	movedLeast, movedFor = 10 * time.Millisecond, 5 * time.Minute
	// slewable is the largest rate in ppm at which the steered clock moves against L without a step.
	slewable = 1000
	// rateMemory is how long the usual rate of the oscillator is averaged, rateSD and rateLeast by how
	// much it must change at once to be named. Temperature moves a crystal by 1 ppm per degree.
	rateMemory, rateSD, rateLeast = 10 * time.Minute, 8.0, 1000.0
)

// attend watches the host: pauses, and jumps of L itself, as when a suspended host resumes. L stands
// still meanwhile, and the kernel sets the system clock right: so the system clock and every source
// jump against L by the same amount, and none of them lies.
func (a *Arbiter) attend(r *round) {
	l, now := &a.local, r.in.Now
	if l.known {
		gap := subtract(time.Duration(now), time.Duration(l.before))
		if gap > pausedFor {
			a.remember(r, FaultPaused, "", fmt.Sprintf("nothing was decided for %v: the process or the virtual machine did not run", show(gap)))
		}
		moved := subtract(r.in.System, l.system)
		if magnitude(moved) > movedLeast+max(0, gap)/1000000*slewable {
			l.moved, l.movedAt = moved, now
		}
	}
	l.before, l.system, l.known = now, r.in.System, true
	if l.moved != 0 && age(now, l.movedAt) > movedFor {
		l.moved = 0
	}
	a.confirm(r)
}

// confirm looks for a sample that moved as the system clock did.
func (a *Arbiter) confirm(r *round) {
	l := &a.local
	if l.moved == 0 || !a.model.known {
		return
	}
	if leap := a.leapt(); leap != 0 && magnitude(subtract(l.moved, leap)) < movedLeast {
		a.relocate(r, leap)
		l.moved = 0
		return
	}
	for i := range r.views {
		v := &r.views[i]
		s := v.newest
		if s == nil || v.state != 0 || v.Options.NoSelect || s.At < l.movedAt || s.At > r.in.Now {
			continue
		}
		by := subtract(s.Offset, a.model.offsetAt(s.At))
		if magnitude(subtract(by, l.moved)) > magnitude(l.moved)/10 {
			continue
		}
		a.remember(r, FaultLocalJump, "", fmt.Sprintf("the local timescale lost %v: %s and the system clock moved alike against it, as after a suspend", show(by), v.ID))
		a.relocate(r, by)
		l.moved = 0
		return
	}
}

// leapt is by how much the kernel moves the clock at the armed leap second.
func (a *Arbiter) leapt() time.Duration {
	switch a.leap.armed {
	case sources.LeapInsert:
		return -time.Second
	case sources.LeapDelete:
		return time.Second
	}
	return 0
}

// relocate moves everything that is remembered on L: it was L that jumped. A source whose tracker still
// stands on the old L has no vote until it has started again.
func (a *Arbiter) relocate(r *round, by time.Duration) {
	a.model.base = subtract(a.model.base, -by)
	a.follow.est.Offset = subtract(a.follow.est.Offset, -by)
	for i := range r.views {
		if v := &r.views[i]; v.has {
			v.rec.stranded = sources.Some(v.est.Track)
		}
	}
}

// strand keeps a source out while its estimate is from before L jumped.
func (a *Arbiter) strand(r *round) {
	for i := range r.views {
		v := &r.views[i]
		track, ok := v.rec.stranded.Get()
		if !ok || !v.has {
			continue
		}
		if v.est.Track != track {
			v.rec.stranded = sources.None[uint32]()
			v.rec.track = v.est.Track // not its own jump
			continue
		}
		if v.state == 0 {
			v.fail(Stale, "its estimate is from before the local timescale jumped")
		}
	}
}

// watchRate names a jump of the oscillator's own frequency. What is usual is not learnt of a source that is new: at a cold
// start its rate may be wrong by more than it knows, and a better one would then show a jump that was none.
func (a *Arbiter) watchRate(r *round, e sources.Estimate) {
	m := &a.local.rate
	change := e.FreqPPB - m.mean
	settled := a.follow.locked && m.weight > 60
	if settled && math.Abs(change) > max(rateSD*e.FreqSDPPB, rateLeast) {
		a.remember(r, FaultRate, "", fmt.Sprintf("the local oscillator changed by %.0f ppb: temperature, migration, or another clocksource", change))
		*m = average{}
	}
	if a.mode == Locked && r.chosen.est.Samples >= green {
		m.add(r.in.Now, e.FreqPPB, 1, rateMemory)
	}
}
