package arbiter

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// advertised is what a source said of itself, and the best it ever said.
type advertised struct {
	reference  string
	best       float64 // doubt about its clock class
	rated      bool
	accuracy   time.Duration // best advertised
	sample     timescale.Instant
	offset     time.Duration
	standstill int // samples in a row in which its clock did not move
}

const (
	// accuracyWorse is by what factor an advertised accuracy must be worse than the best to be named.
	accuracyWorse = 10
	// standing is the number of samples that show a clock that does not move.
	standing = 3
	// futureSlack allows for what an adapter's mapping to L may be off.
	futureSlack = 100 * time.Millisecond
	// congested is by what factor the mean time in queues must have grown, and by how much at least.
	congested, congestedLeast = 4.0, 20 * time.Microsecond
)

// hearsay names what shows in what sources say of themselves and in their newest samples.
func (a *Arbiter) hearsay(r *round) {
	a.loops(r)
	for i := range r.views {
		v := &r.views[i]
		if v.duplicate {
			continue
		}
		if v.report != nil && v.report.Condition == sources.Measuring {
			a.hearQuality(r, v, &v.report.Quality)
		}
		if v.newest != nil {
			a.hearSample(r, v, v.newest)
		}
		r.congestion(v)
	}
}

// hearQuality follows the grandmaster behind a PTP source and what it claims.
func (a *Arbiter) hearQuality(r *round, v *view, q *sources.Quality) {
	if v.Kind != sources.PTP {
		return
	}
	was := &v.rec.said
	if was.reference != q.Reference {
		if was.reference != "" && q.Reference != "" {
			a.remember(r, FaultGrandmaster, v.ID, fmt.Sprintf("grandmaster %s instead of %s", q.Reference, was.reference))
		}
		*was = advertised{reference: q.Reference, sample: was.sample, offset: was.offset}
	}
	if class, ok := q.ClockClass.Get(); ok {
		doubt := classDoubt(class)
		if !was.rated || doubt < was.best {
			was.rated, was.best = true, doubt
		}
		if doubt > was.best {
			r.fault(FaultDegraded, v.ID, fmt.Sprintf("its grandmaster says clock class %d and was better", class))
		}
	}
	if accuracy, ok := q.ClockAccuracy.Get(); ok && accuracy > 0 {
		if was.accuracy == 0 || accuracy < was.accuracy {
			was.accuracy = accuracy
		}
		if accuracy/accuracyWorse >= was.accuracy {
			r.fault(FaultDegraded, v.ID, fmt.Sprintf("its grandmaster says an accuracy of %v and said %v", accuracy, was.accuracy))
		}
	}
}

// hearSample names a clock that stands still and a sample from the future.
func (a *Arbiter) hearSample(r *round, v *view, s *sources.Sample) {
	was := &v.rec.said
	if ahead := subtract(time.Duration(s.At), time.Duration(r.in.Now)); ahead > futureSlack {
		r.fault(FaultFuture, v.ID, fmt.Sprintf("its newest sample is from %v in the future", show(ahead)))
		return
	}
	if s.At != was.sample {
		elapsed := subtract(time.Duration(s.At), time.Duration(was.sample))
		moved := subtract(s.Offset, was.offset)
		if was.sample != 0 && elapsed > 0 && math.Abs(float64(moved)/float64(elapsed)+1) < 0.01 {
			was.standstill++
		} else {
			was.standstill = 0
		}
		was.sample, was.offset = s.At, s.Offset
	}
	if was.standstill >= standing {
		r.fault(FaultFrozen, v.ID, fmt.Sprintf("its clock stands still: the same time in %d samples", was.standstill+1))
		if v.state == 0 {
			v.fail(Unsynchronised, "its clock stands still")
		}
	}
}

// congestion names a path on which packets wait longer than they did.
func (r *round) congestion(v *view) {
	c := &v.rec.compared
	if v.state != 0 || !c.speaks() || c.delay.count == 0 {
		return
	}
	least := float64(c.delay.least())
	usually, lately := c.longUsual.mean-least, c.longRecent.mean-least
	if lately-usually < float64(congestedLeast) || lately < congested*usually {
		return
	}
	r.fault(FaultCongestion, v.ID, fmt.Sprintf("its packets wait %v in queues, usually %v", show(nanoseconds(lately)), show(nanoseconds(usually))))
}

// loops refuses NTP servers that follow each other: by their reference IDs, which for IPv4 are the
// address of the server's own source (RFC 5905, 7.3).
func (a *Arbiter) loops(r *round) {
	for i := range r.views {
		v := &r.views[i]
		v.refers = v.reference()
	}
	for i := range r.views {
		v := &r.views[i]
		for j := range r.views {
			w := &r.views[j]
			if j == i || v.refers == 0 || v.refers != w.rec.known || w.refers == 0 || w.refers != v.rec.known {
				continue
			}
			why := fmt.Sprintf("it follows %s, which follows it", w.ID)
			r.fault(FaultLoop, v.ID, why)
			if v.state == 0 {
				v.fail(Unsynchronised, why)
			}
		}
	}
}

// reference is the reference ID of an NTP server of stratum 2 or more, 0 for other sources.
func (v *view) reference() uint32 {
	if v.Kind != sources.NTP || v.report == nil {
		return 0
	}
	return referenceID(v.report.Quality.Reference)
}

// referenceID reads a reference ID that is an address: the only kind that is eight characters long.
func referenceID(s string) uint32 {
	if len(s) != 8 {
		return 0
	}
	id, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0
	}
	return uint32(id)
}

// referenceOf returns the reference ID by which an NTP server's clients are known, "" where its name is
// no IPv4 address.
func referenceOf(id sources.ID) string {
	name := string(id)
	if i := strings.LastIndexAny(name, ":/"); i >= 0 {
		name = name[i+1:]
	}
	var b [4]uint8
	var rest string
	if n, _ := fmt.Sscanf(name, "%d.%d.%d.%d%s", &b[0], &b[1], &b[2], &b[3], &rest); n != 4 {
		return ""
	}
	return fmt.Sprintf("%02X%02X%02X%02X", b[0], b[1], b[2], b[3])
}
