package arbiter

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// The local oscillator is a witness: over minutes it predicts itself far better than NTP's error
// intervals promise. So where a source moves against it and against the others' samples, and those do
// not move against each other, it is that source that moved, however wide their intervals are.

const (
	// convictSD is by how many standard deviations a source must have moved to be named. At four
	// independent looks per hour a clean source is named once in 10^5 years.
	convictSD = 6.0
	// supportSD is how clearly each of a majority of the others must see it for itself.
	supportSD = 2.0
	// doubtSD stops the learning of biases: what moves might be what teaches.
	doubtSD = 3.0
	// movedFloor is the least movement that is named: PHCs and switches wander by less.
	movedFloor = time.Microsecond
	// movedShare of its error bound is the least movement of a source that is named: paths breathe.
	movedShare = 50
	// returnSD is how near to the reckoning, in standard deviations, a source must return to be heard
	// again; returnSlack is allowed beyond that after a large jump.
	returnSD, returnShare, returnSlack = 3.0, 20, 20 * time.Microsecond
)

// displacement is the verdict of the witness on a source.
type displacement struct {
	since timescale.Instant
	by    time.Duration
	drift bool // it left slowly
	// left is what remains of the movement by its own jumps: about 0 once it has jumped back.
	left time.Duration
	// carried is by how much the reckoning has gone elsewhere since by following others.
	carried time.Duration
}

// observe moves the reckoning to now and compares each new sample with it.
func (a *Arbiter) observe(r *round) {
	a.model.advance(r.in.Now)
	if !a.model.known {
		return
	}
	for i := range r.views {
		if v := &r.views[i]; v.state == 0 {
			a.compare(v, r.in.Now)
		}
	}
}

// compare takes in a new sample that its own tracker believes.
func (a *Arbiter) compare(v *view, now timescale.Instant) {
	s, c := v.newest, &v.rec.compared
	if s == nil || s.At <= c.newest || s.At > now || v.est.Suspects > 0 || age(now, s.At) > maxSampleAge {
		return
	}
	c.newest = s.At
	c.delay.add(s.Delay.Or(0))
	variance := c.variance(s, v.est.Jitter)
	expected := variance + a.model.pp + float64(a.teacher.spread)*float64(a.teacher.spread)
	v.difference = float64(subtract(s.Offset, a.model.offsetAt(s.At)))
	v.fresh, v.variance = true, variance
	if c.speaks() && c.fast.weight > 0 && s.Delay.Present() {
		c.learnScale(v.difference-c.fast.mean, expected)
	}
	if a.teacher.green && a.teacher.id != v.ID {
		return
	}
	c.count++
	near := c.near(v.difference, math.Sqrt(expected))
	c.fast.add(s.At, near, expected, recent)
	if inUse := a.teacher.id == "" && c.learnt.Present() && a.bias(v, now) != 0; !a.doubt && !inUse {
		c.slow.add(s.At, near, expected, usual)
		// Of a teacher that is no better than its pupil only its own error would be learnt.
		// What a new source is unsure of because it is new says nothing of that.
		if better := v.est.Terms.Systematic()/nearEqual > a.teacher.bound; better && a.teacher.id != "" && a.teacher.id != v.ID {
			c.learnt = sources.Some(now)
		}
	}
	c.learnPath(s)
}

// maxSampleAge is how old a sample may be to be compared: the reckoning is extrapolated back to it.
const maxSampleAge = time.Minute

// near limits what one sample may do to the averages.
func (c *comparison) near(difference, sd float64) float64 {
	if !c.speaks() || c.fast.weight == 0 {
		return difference
	}
	middle := c.fast.mean
	return middle + max(-scaleClip*sd, min(scaleClip*sd, difference-middle))
}

// opinion is what several sources say of the reckoning together: by how much they have moved against it.
type opinion struct {
	by, sd     float64 // ns
	floor      float64 // ns
	voices     int
	supporters int
}

// clear reports whether the movement is beyond doubt.
func (o opinion) clear() bool {
	return o.voices > 0 && math.Abs(o.by) > convictSD*o.sd && math.Abs(o.by) > o.floor
}

// ask collects the opinion of all sources that have one but two.
func (a *Arbiter) ask(r *round, but, butToo *view) opinion {
	var o opinion
	var weight float64
	for i := range r.views {
		v := &r.views[i]
		if v == but || v == butToo || !v.testifies() {
			continue
		}
		by, sd := v.rec.compared.shift()
		w := 1 / (sd * sd)
		weight += w
		o.by += w * by
		o.floor += w * v.movedFloor()
		o.voices++
	}
	if weight == 0 {
		return opinion{}
	}
	o.by, o.floor = o.by/weight, o.floor/weight
	o.sd = math.Hypot(math.Sqrt(1/weight), a.model.sd())
	o.supporters = a.supporters(r, o, but, butToo)
	return o
}

// supporters counts those who see the movement for themselves.
func (a *Arbiter) supporters(r *round, o opinion, but, butToo *view) int {
	n := 0
	for i := range r.views {
		v := &r.views[i]
		if v == but || v == butToo || !v.testifies() {
			continue
		}
		by, sd := v.rec.compared.shift()
		if by*math.Copysign(1, o.by) > supportSD*math.Hypot(sd, a.model.sd()) {
			n++
		}
	}
	return n
}

// testifies reports whether the witness can use what the source says.
func (v *view) testifies() bool {
	c := &v.rec.compared
	return v.votes() && v.has && v.rec.believed && v.rec.moved == nil && c.speaks() && c.fast.weight > 0
}

// movedFloor is the least movement of the source that means anything, in ns.
func (v *view) movedFloor() float64 { return float64(max(movedFloor, v.bound/movedShare)) }

// testify names the sources that have moved, and takes their vote until they are back.
func (a *Arbiter) testify(r *round) {
	if !a.cfg.Witness || !a.model.known {
		return
	}
	a.doubt, a.suspected = false, 0
	a.hearJumps(r)
	a.hearReference(r)
	for i := range r.views {
		if v := &r.views[i]; v.testifies() && v.ID != a.teacher.id {
			a.hearOne(r, v)
		}
	}
	a.holdDisplaced(r)
}

// hearReference asks the others about the source that teaches the reckoning.
func (a *Arbiter) hearReference(r *round) {
	ref := r.find(sources.Some(a.teacher.id))
	if ref == nil || !ref.votes() || ref.rec.moved != nil || a.teacher.green {
		return
	}
	o := a.ask(r, ref, nil)
	if o.voices > 0 && math.Abs(o.by) > max(doubtSD*o.sd, o.floor/2) {
		a.doubt, a.suspected = true, nanoseconds(math.Abs(o.by)+doubtSD*o.sd)
	}
	if !o.clear() {
		return
	}
	if o.supporters < 2 && o.voices > 1 {
		return // one that the rest do not follow: it is heard for itself
	}
	evidence := fmt.Sprintf("%d of %d other sources moved by %v +-%v against it", o.supporters, o.voices, show(nanoseconds(o.by)), show(nanoseconds(o.sd)))
	if o.supporters < 2 || 2*o.supporters <= o.voices || ref.Options.Trust {
		r.fault(FaultDrift, ref.ID, evidence+": it or they")
		return
	}
	a.displace(r, ref, nanoseconds(-o.by), true)
	// By when the others have convinced, a drift has gone on: their mean is late.
	a.model.shift(o.by, math.Hypot(o.sd, o.by/4))
	a.model.taught = true
	a.follow.moveBy(o.by)
	for i := range r.views {
		r.views[i].rec.compared.fast = average{}
	}
}

// moveBy puts the last target right after the source that it came from has been found to have drifted, in case that
// the clock has to hold over from it: its rate is as doubtful as such a drift makes it.
func (f *following) moveBy(ns float64) {
	by := nanoseconds(ns)
	f.est.Offset = subtract(f.est.Offset, -by)
	f.est.Bound = min(f.est.Bound+magnitude(by), maxMagnitude)
	f.est.FreqSDPPB = math.Hypot(f.est.FreqSDPPB, ns/recent.Seconds())
}

// hearOne asks the others about one source that has moved against the reckoning.
func (a *Arbiter) hearOne(r *round, v *view) {
	by, sd := v.rec.compared.shift()
	sd = math.Hypot(sd, a.model.sd())
	if math.Abs(by) < max(convictSD*sd, v.movedFloor()) {
		return
	}
	if longer := v.rec.compared.longer(); math.Abs(longer) >= math.Abs(by) {
		r.fault(FaultPath, v.ID, fmt.Sprintf("its path became %v longer and its offset moved by %v: another route", show(nanoseconds(longer)), show(nanoseconds(by))))
		a.forgetPath(r, v)
		return
	}
	// The reckoning is what its teacher taught: that this one has not moved against itself is no testimony.
	rest := a.ask(r, v, r.find(sources.Some(a.lineage)))
	if rest.voices == 0 && a.teacher.id == "" || v.Options.Trust {
		return
	}
	exonerated := rest.voices > 0 && 4*rest.sd < math.Abs(by) && math.Abs(rest.by) < math.Abs(by)/2
	if !exonerated {
		r.fault(FaultDrift, v.ID, fmt.Sprintf("it moved by %v +-%v against %s: one of the two", show(nanoseconds(by)), show(nanoseconds(sd)), a.reference()))
		return
	}
	a.displace(r, v, nanoseconds(by), true)
}

// reference names what the reckoning follows.
func (a *Arbiter) reference() string {
	if a.teacher.id != "" {
		return string(a.teacher.id)
	}
	return "the others"
}

// forgetPath learns a source's bias anew; the fault is kept in sight for a while.
func (a *Arbiter) forgetPath(r *round, v *view) {
	a.remember(r, FaultPath, v.ID, r.faults[len(r.faults)-1].Evidence)
	v.rec.compared.forget()
}

// hearJumps looks for proven sources that started a new track elsewhere.
func (a *Arbiter) hearJumps(r *round) {
	if a.localEvent(r) {
		return
	}
	for i := range r.views {
		v := &r.views[i]
		rec := v.rec
		if !v.has || !rec.proven() || !v.anew() || rec.moved != nil || v.state != 0 {
			continue
		}
		by := a.away(v, r.in.Now)
		sd := math.Hypot(a.model.sd(), float64(v.est.OffsetSD))
		moved := float64(magnitude(by)) > convictSD*sd+v.movedFloor()
		if moved && !a.otherRate(v, by) && a.contradicted(r, v) && !v.Options.Trust {
			a.displace(r, v, by, false)
		}
	}
}

// away is how far a source, less its bias, is from the reckoning.
func (a *Arbiter) away(v *view, now timescale.Instant) time.Duration {
	return subtract(subtract(v.est.Offset, a.model.offsetAt(now)), a.bias(v, now))
}

// otherRate reports whether the source did not jump but runs at another rate, from a few seconds ago on.
// That is how a change of the local oscillator's own frequency looks, which every source shows in its
// turn and a source with a reference hardly ever does.
func (a *Arbiter) otherRate(v *view, by time.Duration) bool {
	change := v.est.FreqPPB - a.model.freq
	if math.Abs(change) < convictSD*math.Hypot(v.est.FreqSDPPB, math.Sqrt(a.model.ff)) {
		return false
	}
	since := float64(by) / change // s
	return since > 0 && since < rateSince.Seconds()
}

// rateSince is how long ago the rate may have changed where a tracker has just noticed it.
const rateSince = 30 * time.Second

// contradicted reports whether the other sources can settle that a source jumped: several that have not
// moved, or one whose interval does not even show it, or one with a single sample that fits the reckoning and not the
// source. One that contradicts it is a disagreement, which has its own answer.
func (a *Arbiter) contradicted(r *round, v *view) bool {
	others, overlap := 0, false
	for i := range r.views {
		w := &r.views[i]
		if w == v || !w.votes() || w.unsteady() {
			continue
		}
		if !w.rec.believed && a.remembers(w, v) {
			return true
		}
		if w.rec.believed {
			others++
			overlap = magnitude(subtract(v.offset, w.offset)) <= v.bound+w.bound
		}
	}
	return others > 1 || others == 1 && overlap
}

// remembers reports whether the newest sample of w, as far as it can be wrong, is where the reckoning was and not where v says
// that it was: w itself may be too new to say where it is now.
func (a *Arbiter) remembers(w, v *view) bool {
	s := w.newest
	if s == nil || w.est.Suspects > 0 || s.At > v.est.At || age(v.est.At, s.At) > maxSampleAge {
		return false
	}
	t := w.est.Terms
	reach := t.RootDelay + t.RootDispersion + t.ClockAccuracy + s.Delay.Or(0)/2 + s.Dispersion + sources.Confidence*nanoseconds(a.model.sd())
	if s.Delay == sources.None[time.Duration]() {
		reach += sources.Confidence * w.est.Jitter
	}
	fits := magnitude(subtract(s.Offset, a.model.offsetAt(s.At))) <= reach
	then := v.est.Project(s.At)
	return fits && magnitude(subtract(s.Offset, then.Offset)) > reach+then.Bound
}

func (a *Arbiter) displace(r *round, v *view, by time.Duration, drift bool) {
	v.rec.moved = &displacement{since: r.in.Now, by: by, drift: drift, left: by}
	if own, ok := v.ownJump(r.in.Now); ok {
		v.rec.moved.left = own
	}
	v.rec.compared.fast = average{}
	a.doubt = true
}

// holdDisplaced keeps a source that moved out of the vote until it is back where the oscillator and the
// others expect it, or for so long that it has to be taken for a correction.
func (a *Arbiter) holdDisplaced(r *round) {
	for i := range r.views {
		v := &r.views[i]
		m := v.rec.moved
		if m == nil || !v.has || v.duplicate {
			continue
		}
		if own, ok := v.ownJump(r.in.Now); ok && m.since != r.in.Now {
			m.left = subtract(m.left, -own)
		}
		now := subtract(a.away(v, r.in.Now), m.carried)
		held := age(r.in.Now, m.since)
		if back := a.isBack(v, m, now); back || held > a.cfg.Quarantine || !a.follow.has {
			a.release(r, v, back)
			continue
		}
		why := fmt.Sprintf("it %s by %v against the local oscillator and the other sources did not; it is %v off now, heard again within %v or in %v",
			m.verb(), show(m.by), show(now), show(a.returnLimit(v, m)), show(a.cfg.Quarantine-held))
		r.fault(m.fault(), v.ID, why)
		if v.state == 0 && !v.Options.NoSelect {
			v.refuted = true
			v.fail(Falseticker, why)
		}
	}
}

// release lets a displaced source settle. One that is not back is believed where it is now: what was
// learnt of the others against its old place is void.
func (a *Arbiter) release(r *round, v *view, back bool) {
	v.rec.moved, v.rec.base = nil, v.est.Samples
	v.rec.compared.forget()
	if back {
		return
	}
	a.lineage = ""
	for i := range r.views {
		r.views[i].rec.compared.forget()
	}
}

func (m *displacement) verb() string {
	if m.drift {
		return "drifted"
	}
	return "jumped"
}

func (m *displacement) fault() string {
	if m.drift {
		return FaultDrift
	}
	return FaultJump
}

// anew reports whether the source has begun a new track since the step before.
func (v *view) anew() bool { return v.rec.track != 0 && v.rec.track != v.est.Track }

// ownJump is by how much the source began this track away from the one before.
func (v *view) ownJump(now timescale.Instant) (time.Duration, bool) {
	if !v.anew() {
		return 0, false
	}
	return subtract(v.est.Offset, v.rec.before.Project(now).Offset), true
}

// leapt reports whether a proven source began its track elsewhere, and how far away. One that began it about where
// it was is only less steady than its tracker had taken it for.
func (v *view) leapt(now timescale.Instant) (by time.Duration, leapt bool) {
	by, ok := v.ownJump(now)
	sd := math.Hypot(float64(v.est.OffsetSD), float64(v.rec.before.Project(now).OffsetSD))
	return by, ok && v.rec.proven() && float64(magnitude(by)) > doubtSD*sd+v.movedFloor()
}

// isBack reports whether a displaced source, which is now that far from the reckoning, is back: because the reckoning
// is sure enough to tell where it was from where it went, or because it has jumped back by what it had jumped, which
// the reckoning does not contradict. A reckoning that is not so sure wanders over to the source sooner or later.
func (a *Arbiter) isBack(v *view, m *displacement, now time.Duration) bool {
	sd := math.Hypot(a.model.sd(), float64(v.est.OffsetSD))
	if returnSD*sd <= float64(magnitude(m.by))/2 {
		return magnitude(now) <= a.returnLimit(v, m)
	}
	own := returnSD*float64(v.est.OffsetSD) + float64(movedFloor+min(magnitude(m.by)/returnShare, returnSlack))
	return float64(magnitude(m.left)) <= own && float64(magnitude(now)) <= convictSD*sd+float64(movedFloor)
}

// returnLimit is how near to the reckoning a displaced source must be to be believed again.
func (a *Arbiter) returnLimit(v *view, m *displacement) time.Duration {
	sd := math.Hypot(a.model.sd(), float64(v.est.OffsetSD))
	limit := nanoseconds(returnSD*sd) + movedFloor + min(magnitude(m.by)/returnShare, returnSlack)
	return min(limit, magnitude(m.by)/2)
}
