package arbiter

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// maxMagnitude limits every offset and bound that enters the arithmetic, so that no sum overflows;
// it is some 73 years.
const maxMagnitude = time.Duration(1) << 61

// admit gives each source the first state whose test it fails, up to Distant; those that pass all
// tests keep no state and have a vote.
func (a *Arbiter) admit(r *round) {
	for i := range r.views {
		v := &r.views[i]
		if i > 0 && v.ID == r.views[i-1].ID {
			v.has, v.duplicate = false, true
			v.fail(Unsynchronised, "its ID is used twice")
			continue
		}
		a.admitOne(v, r.in.Now)
	}
}

func (a *Arbiter) admitOne(v *view, now timescale.Instant) {
	report := v.report
	maxAge := a.cfg.maxAge(v.Options, v.Kind == sources.PTP)
	switch {
	case report != nil && report.Condition == sources.Unreachable:
		v.fail(Unreachable, detail("nothing is heard of it", report.Detail))
	case report != nil && report.Condition == sources.Unsynchronised:
		v.fail(Unsynchronised, detail("it says that it is not synchronised", report.Detail))
	case !v.has && report == nil:
		v.fail(Unreachable, "nothing was heard of it yet")
	case !v.has:
		v.fail(Unreachable, detail("it answers, but there is no sample yet", report.Detail))
	case !sane(v.est) || v.Options.Floor > maxMagnitude:
		v.has = false
		v.fail(Unsynchronised, "its estimate is not a measurement")
	case a.implausible(v, now):
		v.fail(Unsynchronised, fmt.Sprintf("its time is %s, outside %s to %s", v.date(now), date(a.cfg.NotBefore), date(a.cfg.NotAfter)))
	case age(now, v.est.LastSample) > maxAge:
		v.fail(Stale, staleness(v.est, now, maxAge))
	case v.est.Jitter > a.cfg.MaxJitter:
		v.fail(Jittery, fmt.Sprintf("samples spread %v, limit %v", show(v.est.Jitter), a.cfg.MaxJitter))
	case v.bound > a.cfg.MaxDistance:
		v.fail(Distant, fmt.Sprintf("error bound %v, limit %v", show(v.bound), a.cfg.MaxDistance))
	}
}

// implausible reports whether the source's date is outside the configured floor and ceiling.
func (a *Arbiter) implausible(v *view, now timescale.Instant) bool {
	utc := timescale.Instant(subtract(time.Duration(now), -v.est.Offset))
	return a.cfg.NotBefore != 0 && utc < a.cfg.NotBefore || a.cfg.NotAfter != 0 && utc > a.cfg.NotAfter
}

// date is the source's, for a person.
func (v *view) date(now timescale.Instant) string { return date(now.Add(v.est.Offset)) }

func date(i timescale.Instant) string { return i.Near().Format(time.DateOnly) }

// staleness tells a source that is silent from one whose newer samples its tracker does not believe.
func staleness(e sources.Estimate, now timescale.Instant, limit time.Duration) string {
	reason := fmt.Sprintf("newest sample is %v old, limit %v", show(age(now, e.LastSample)), limit)
	if e.Suspects > 0 {
		reason += fmt.Sprintf("; %d newer ones contradict it", e.Suspects)
	}
	return reason
}

func (v *view) fail(s State, reason string) { v.state, v.reason = s, reason }

// votes reports whether the source takes part in the vote.
func (v *view) votes() bool { return v.state == 0 && !v.Options.NoSelect }

// sane reports whether the figures of an estimate can be used in arithmetic.
func sane(e sources.Estimate) bool {
	finite := true
	for _, f := range [...]float64{e.FreqPPB, e.FreqSDPPB, e.WanderPPB} {
		finite = finite && !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	within := e.Offset < maxMagnitude && e.Offset > -maxMagnitude && e.Bound >= 0 && e.Bound < maxMagnitude
	return finite && within && e.OffsetSD >= 0 && e.FreqSDPPB >= 0 && e.Jitter >= 0
}

// age returns how long ago i was, without overflow; a sample of the future has age 0.
func age(now, i timescale.Instant) time.Duration {
	return max(0, subtract(time.Duration(now), time.Duration(i)))
}

// subtract returns a - b, at the limit of its type where the difference does not fit.
func subtract(a, b time.Duration) time.Duration {
	switch d := a - b; {
	case a >= 0 && b < 0 && d < 0:
		return math.MaxInt64
	case a < 0 && b >= 0 && d >= 0:
		return math.MinInt64
	default:
		return d
	}
}

// magnitude is the absolute value, which the smallest int64 has none of.
func magnitude(d time.Duration) time.Duration {
	if d < 0 {
		return -max(d, -math.MaxInt64)
	}
	return d
}

// interval shows the error interval of a source against the system clock.
func interval(v *view) string { return show(v.offset).String() + " +-" + show(v.bound).String() }

func detail(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

// show rounds a duration to what a person reads: about four digits.
func show(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for m := magnitude(d); m >= 10_000 && unit < time.Second; m /= 10 {
		unit *= 10
	}
	return d.Round(unit)
}
