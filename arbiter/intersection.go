package arbiter

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// vote is the outcome of the intersection of the error intervals.
type vote struct {
	// voters and trusted are the sources that took part; depth and trustDepth how many of them
	// share the deepest overlap.
	voters, trusted, depth, trustDepth int
	// lo and hi are the hull of the deepest overlaps, relative to the system clock.
	lo, hi time.Duration
}

// edge is the end of one error interval.
type edge struct {
	at      time.Duration
	closing bool
	trusted bool
}

// count intersects the error intervals of the voters (RFC 5905, 11.2.1, in the stricter form that
// an interval has to cover the whole overlap): true time lies where most intervals are, as long as
// most of the sources tell the truth. Trusted sources are counted before all others.
func (a *Arbiter) count(views []view) vote {
	var n vote
	edges := a.edges[:0]
	for i := range views {
		v := &views[i]
		if !v.votes() {
			continue
		}
		n.voters++
		if v.Options.Trust {
			n.trusted++
		}
		edges = append(edges,
			edge{at: subtract(v.offset, v.bound), trusted: v.Options.Trust},
			edge{at: subtract(v.offset, -v.bound), trusted: v.Options.Trust, closing: true})
	}
	// Intervals that touch overlap: at the same place the opening edges come first.
	slices.SortFunc(edges, func(e, f edge) int {
		return cmp.Or(cmp.Compare(e.at, f.at), compareBool(e.closing, f.closing))
	})
	n.sweep(edges)
	a.edges = edges
	return n
}

// sweep walks over the edges and keeps the hull of the places where the depth is greatest.
func (n *vote) sweep(edges []edge) {
	depth, trust := 0, 0
	for _, e := range edges {
		if e.closing && depth == n.depth && trust == n.trustDepth {
			n.hi = e.at
		}
		delta := 1
		if e.closing {
			delta = -1
		}
		depth += delta
		if e.trusted {
			trust += delta
		}
		if trust > n.trustDepth || trust == n.trustDepth && depth > n.depth {
			n.depth, n.trustDepth, n.lo = depth, trust, e.at
		}
	}
}

// majority reports whether more than half of the voters, or of the trusted ones where there are any,
// share the deepest overlap.
func (n vote) majority() bool {
	if n.trusted > 0 {
		return 2*n.trustDepth > n.trusted
	}
	return 2*n.depth > n.voters
}

// covers reports whether the interval covers the whole overlap. One that covers a part of it
// contradicts some member of the majority and is a falseticker.
func (n vote) covers(v *view) bool {
	return subtract(v.offset, v.bound) <= n.lo && subtract(v.offset, -v.bound) >= n.hi
}

// touches reports whether the interval has any point in common with the overlap.
func (n vote) touches(v *view) bool {
	return subtract(v.offset, v.bound) <= n.hi && subtract(v.offset, -v.bound) >= n.lo
}

// String shows the vote in words.
func (n vote) String() string {
	if n.trusted > 0 {
		return fmt.Sprintf("%d of %d trusted and %d of %d in all", n.trustDepth, n.trusted, n.depth, n.voters)
	}
	return fmt.Sprintf("%d of %d", n.depth, n.voters)
}

// judge names the falsetickers.
func (a *Arbiter) judge(r *round) {
	for i := range r.views {
		v := &r.views[i]
		switch {
		case v.refuted && v.rec.moved != nil && r.vote.majority() && !r.vote.covers(v):
			v.reason = fmt.Sprintf("%s does not cover [%v, %v], where %v agree; %s",
				interval(v), show(r.vote.lo), show(r.vote.hi), r.vote, v.reason)
			r.fault(FaultFalseticker, v.ID, v.reason)
		case v.state != 0:
		case v.Options.NoSelect:
			v.fail(Watched, "configured noselect")
		case !r.vote.majority():
			v.fail(Falseticker, fmt.Sprintf("no majority: at most %v agree", r.vote))
		case !r.vote.covers(v):
			v.fail(Falseticker, fmt.Sprintf("%s does not cover [%v, %v], where %v agree",
				interval(v), show(r.vote.lo), show(r.vote.hi), r.vote))
		}
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
