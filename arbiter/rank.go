package arbiter

import (
	"cmp"
	"slices"

	"clockarbiter/sources"
)

// rank sorts the selectable sources, best first: configured preference, then score, then ID.
func rank(r *round) {
	for i := range r.views {
		v := &r.views[i]
		if v.has && v.state >= Jittery {
			v.score = score(v)
		}
		if v.state == Selectable {
			r.ranked = append(r.ranked, v)
		}
	}
	slices.SortFunc(r.ranked, better)
}

// better orders two sources of which either may be followed.
func better(v, w *view) int {
	return cmp.Or(compareBool(!v.Options.Prefer, !w.Options.Prefer), cmp.Compare(v.score, w.score), cmp.Compare(v.ID, w.ID))
}

// score is the error bound plus the spread, in seconds, worsened by at most a tenth by what the source
// advertises of itself: a hint that decides between equals and never against a measurement.
func score(v *view) float64 {
	measured := v.bound.Seconds() + v.est.Jitter.Seconds()
	if v.report == nil {
		return measured * 1.1
	}
	return measured * (1 + 0.1*doubt(v.Kind, &v.report.Quality))
}

// doubt rates the advertised quality from 0, the best, to 1.
func doubt(kind sources.Kind, q *sources.Quality) float64 {
	if kind == sources.PTP {
		steps := min(float64(q.StepsRemoved.Or(255)), 100) / 100
		return 0.8*classDoubt(q.ClockClass.Or(248)) + 0.2*steps
	}
	return min(float64(q.Stratum.Or(16)), 16) / 16
}

// classDoubt rates a clock class (IEEE 1588-2019, table 4): 6 and 13 are locked to a primary
// reference, 7 and 14 hold over within specification, 52 to 58 and 187 to 193 are degraded, 248
// is the default of a clock that claims nothing.
func classDoubt(class uint8) float64 {
	switch {
	case class == 6 || class == 13:
		return 0
	case class == 7 || class == 14:
		return 0.2
	case class < 187:
		return 0.5
	default:
		return 1
	}
}
