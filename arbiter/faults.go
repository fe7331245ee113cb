package arbiter

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// The named faults.
const (
	FaultUTCOffset    = "utc-offset"           // PTP and NTP are a whole number of UTC offsets apart
	FaultFalseticker  = "falseticker"          // the majority contradicts a source
	FaultDisagreement = "disagreement"         // two sources contradict each other, with no third
	FaultNoMajority   = "no-majority"          // more than two contradict each other
	FaultFrozen       = "frozen-source"        // the engine says that it measures, and no new sample comes
	FaultJump         = "jump"                 // a source jumped against the local timescale
	FaultDrift        = "drift"                // a source left the others slowly, within their error intervals
	FaultPath         = "path-change"          // the delay and the offset of a source moved together
	FaultGrandmaster  = "grandmaster-change"   // another grandmaster speaks
	FaultDegraded     = "grandmaster-degraded" // the grandmaster claims less than it did
	FaultFuture       = "future-sample"        // a sample from the future
	FaultCongestion   = "congestion"           // packets wait longer than they did
	FaultLoop         = "stratum-loop"         // two NTP servers follow each other
	FaultDate         = "implausible-date"     // a date before the configured floor or after the ceiling
	FaultReset        = "phc-reset"            // a hardware clock that started again at 1970
	FaultLeap         = "leap-disagreement"    // the survivors and the table disagree on leap second or TAI - UTC
	FaultTable        = "leap-table"           // the host's leap second table is refused, expires soon, or has expired
	FaultSmear        = "smear"                // a server smears a leap second among others that do not
	FaultMajority     = "majority-moved"       // most sources moved against the oscillator
	FaultPaused       = "host-paused"          // nothing was decided for a while
	FaultLocalJump    = "local-jump"           // the local timescale itself jumped
	FaultRate         = "local-frequency"      // the local oscillator changed its frequency
	FaultPanic        = "panic"                // the error is larger than will be corrected
)

// Fault is a named fault that holds at present, with its evidence. Source is empty for a fault of
// the sources as a whole.
type Fault struct {
	Name     string
	Source   sources.ID
	Evidence string
}

const (
	// utcOffset is TAI - UTC since 2017; what the grandmaster advertises comes first.
	utcOffset = 37 * time.Second
	// utcOffsetSlack is how near a multiple of it an offset must be, beyond the bounds.
	utcOffsetSlack = 50 * time.Millisecond
)

func (r *round) fault(name string, id sources.ID, evidence string) {
	r.faults = append(r.faults, Fault{Name: name, Source: id, Evidence: evidence})
}

// refuteUTCOffsets takes the vote from PTP sources that are a whole number of UTC offsets off the NTP
// sources: TAI served as UTC, or the offset applied twice. It is named for what it is whatever
// the majority among several ports of one grandmaster. Where the evidence is against the NTP sources, they are
// named and the vote decides.
func (a *Arbiter) refuteUTCOffsets(r *round) {
	for i := range r.views {
		p := &r.views[i]
		if p.state != 0 || p.Kind != sources.PTP {
			continue
		}
		o := r.objections(p)
		if o.against > o.with {
			p.refuted = true
			p.fail(Falseticker, fmt.Sprintf("%d x the UTC offset away from %d NTP sources (%v): %s",
				o.multiple, o.against, show(p.offset), p.timescale()))
			r.fault(FaultUTCOffset, p.ID, p.reason)
		}
	}
}

// objections weighs what stands against the whole seconds of a PTP source, and with it.
type objections struct {
	against, with int
	multiple      int64
}

// objections counts the NTP sources that are whole UTC offsets from p, and those that agree with it.
//
// An NTP source that has just moved against L while p has not is the one that moved. Other grandmasters that
// agree with p count where an NTP source does too, and where they flag a valid UTC offset: one that
// flags none claims nothing about whole seconds, and several may have been set up alike.
func (r *round) objections(p *view) objections {
	var o objections
	var objectors []*view
	for i := range r.views {
		n := &r.views[i]
		if n.Kind != sources.NTP || !n.votes() {
			continue
		}
		switch m := utcMultiple(p, n); {
		case m != 0 && n.unsteady() && !p.unsteady():
			objectors = append(objectors, n)
		case m != 0:
			o.against, o.multiple = o.against+1, m
			objectors = append(objectors, n)
		case magnitude(subtract(p.offset, n.offset)) <= p.bound+n.bound:
			o.with++
		}
	}
	if len(objectors) == 0 {
		return o
	}
	if o.with += r.siblings(p, o.with > 0); o.against <= o.with {
		for _, n := range objectors {
			why := fmt.Sprintf("by which %d others stand", o.with)
			if n.unsteady() && !p.unsteady() {
				why = "and it moved and that did not"
			}
			r.fault(FaultUTCOffset, n.ID, fmt.Sprintf("%d x the UTC offset away from %s (%v), %s", -utcMultiple(p, n), p.ID, show(n.offset), why))
		}
	}
	return o
}

// unsteady reports whether a proven source moved against L, and has not settled since.
func (v *view) unsteady() bool {
	return v.rec.proven() && v.anew() || v.rec.jumped || v.rec.moved != nil
}

// siblings counts the other PTP sources of other grandmasters that agree with p: all of them, or only those
// that flag a valid UTC offset.
func (r *round) siblings(p *view, all bool) int {
	n := 0
	for i := range r.views {
		w := &r.views[i]
		if w == p || w.Kind != sources.PTP || w.duplicate || !w.has || w.state != 0 && !w.refuted || w.independence() == p.independence() {
			continue
		}
		if claims := w.report != nil && w.report.Quality.UTCOffset.Present(); (all || claims) && magnitude(subtract(p.offset, w.offset)) <= p.bound+w.bound {
			n++
		}
	}
	return n
}

// timescale says what the grandmaster says of its own timescale (IEEE 1588-2019, 8.2.4).
func (v *view) timescale() string {
	switch {
	case v.report == nil:
	case v.report.Quality.PTPTimescale.Is(false):
		return "its grandmaster does not flag the PTP timescale"
	case !v.report.Quality.UTCOffset.Present() && v.report.Condition != 0:
		return "its grandmaster flags no valid UTC offset"
	}
	return "TAI taken for UTC, or the offset not flagged valid"
}

// utcMultiple returns k where p is k UTC offsets from n, k within +-2, else 0.
func utcMultiple(p, n *view) int64 {
	diff := subtract(p.offset, n.offset)
	if magnitude(diff) < utcOffset/2 {
		return 0
	}
	unit := utcOffset
	if p.report != nil {
		if u := p.report.Quality.UTCOffset.Or(unit); u >= 30*time.Second && u <= 50*time.Second {
			unit = u
		}
	}
	k := math.Round(diff.Seconds() / unit.Seconds())
	if k == 0 || math.Abs(k) > 2 {
		return 0
	}
	if magnitude(diff-time.Duration(k)*unit) > min(p.bound+n.bound, time.Second)+utcOffsetSlack {
		return 0
	}
	return int64(k)
}

// nameFaults adds the faults that the verdicts show.
func (a *Arbiter) nameFaults(r *round) {
	for i := range r.views {
		v := &r.views[i]
		switch {
		case v.state == Falseticker && !v.refuted && r.vote.majority():
			r.fault(FaultFalseticker, v.ID, v.reason)
		case v.state == Stale && v.est.Suspects == 0 && !v.rec.stranded.Present() && v.report != nil && v.report.Condition == sources.Measuring &&
			age(r.in.Now, v.report.At) <= a.cfg.maxAge(v.Options, v.Kind == sources.PTP):
			r.fault(FaultFrozen, v.ID, "its engine says that it measures, and "+v.reason)
		}
		if why := v.leaving(); why != "" {
			r.fault(FaultJump, v.ID, why)
		}
		if v.rec.jumped && v.rec.moved == nil && !v.duplicate {
			r.fault(FaultJump, v.ID, fmt.Sprintf("it began track %d against the local timescale, %v away: %s", v.est.Track, show(v.rec.jumpedBy), v.reason))
		}
	}
	a.nameDates(r)
	a.nameMajority(r)
	a.nameSmear(r)
	a.recall(r)
	slices.SortStableFunc(r.faults, compareFaults)
	r.faults = slices.CompactFunc(r.faults, func(f, g Fault) bool { return compareFaults(f, g) == 0 })
}

// leavingSamples is the number of samples in a row that contradict a source's own estimate from which on
// that is named, before the tracker has made up its mind: one is an outlier. leavingSD is how far away
// the newest must be.
const leavingSamples, leavingSD = 2, 8.0

// leaving tells that a source is about to start a new track elsewhere.
func (v *view) leaving() string {
	s := v.newest
	if s == nil || v.duplicate || !v.has || v.state < Falseticker || !v.rec.believed || v.est.Suspects < leavingSamples {
		return ""
	}
	before := v.est.Project(s.At)
	by := float64(subtract(s.Offset, before.Offset))
	sd := math.Hypot(math.Sqrt(v.rec.compared.variance(s, v.est.Jitter)), float64(before.OffsetSD))
	if math.Abs(by) < leavingSD*sd+float64(movedFloor) {
		return ""
	}
	return fmt.Sprintf("%d samples in a row are %v off its own estimate", v.est.Suspects, show(nanoseconds(by)))
}

func compareFaults(f, g Fault) int {
	return cmp.Or(cmp.Compare(f.Name, g.Name), cmp.Compare(f.Source, g.Source))
}

// keptFault is a fault that is over and stays in sight for a while.
type keptFault struct {
	Fault
	until timescale.Instant
}

// keptFor is how long a fault that is over in an instant is shown.
const keptFor = time.Minute

// remember keeps a fault in sight.
func (a *Arbiter) remember(r *round, name string, id sources.ID, evidence string) {
	a.kept = slices.DeleteFunc(a.kept, func(k keptFault) bool { return k.Name == name && k.Source == id })
	a.kept = append(a.kept, keptFault{Fault{name, id, evidence}, r.in.Now.Add(keptFor)})
}

// recall adds the faults that are kept in sight.
func (a *Arbiter) recall(r *round) {
	a.kept = slices.DeleteFunc(a.kept, func(k keptFault) bool { return r.in.Now.After(k.until) })
	for _, k := range a.kept {
		r.faults = append(r.faults, k.Fault)
	}
}

// nameMajority tells that most sources are out because the oscillator contradicts them.
func (a *Arbiter) nameMajority(r *round) {
	moved, voters := 0, 0
	for i := range r.views {
		v := &r.views[i]
		if v.duplicate || !v.has || v.Options.NoSelect || v.state <= Distant {
			continue
		}
		voters++
		if v.rec.moved != nil || v.rec.jumped && v.state == Falseticker {
			moved++
		}
	}
	if moved > 1 && 2*moved > voters {
		r.fault(FaultMajority, "", fmt.Sprintf("%d of %d sources moved against the local oscillator", moved, voters))
	}
}

// The rates of the usual smears: a second in 24 h or in 20 h (11.6 and 13.9 ppm), in ppb, with room for
// the noise of the estimate.
const smearLeast, smearMost = 9_000.0, 17_000.0

// nameSmear names NTP falsetickers within a second of the majority that run at the rate of a smear, within
// a day of the end of a month.
func (a *Arbiter) nameSmear(r *round) {
	for i := range r.views {
		v := &r.views[i]
		if v.state != Falseticker || v.Kind != sources.NTP || r.chosen == nil || v.duplicate {
			continue
		}
		rate := math.Abs(v.est.FreqPPB - r.chosen.est.FreqPPB)
		apart := magnitude(subtract(v.est.Offset, r.chosen.est.Offset))
		utc := r.in.Now.Add(r.chosen.est.Offset)
		if rate < smearLeast || rate > smearMost || apart > time.Second || !lastDay(utc.Add(-24*time.Hour)) && !lastDay(utc.Add(24*time.Hour)) && !lastDay(utc) {
			continue
		}
		r.fault(FaultSmear, v.ID, fmt.Sprintf("it runs %.1f ppm off the others, %v from them, at the end of a month: it smears a leap second", rate/1000, show(apart)))
	}
}

// nameDates names sources whose date no source can have.
func (a *Arbiter) nameDates(r *round) {
	for i := range r.views {
		v := &r.views[i]
		if v.duplicate || !v.has || v.state != Unsynchronised || !a.implausible(v, r.in.Now) {
			continue
		}
		name := FaultDate
		if v.Kind == sources.PTP && r.in.Now.Add(v.est.Offset).Near().Year() <= 1971 {
			name = FaultReset
		}
		r.fault(name, v.ID, v.reason)
	}
}
