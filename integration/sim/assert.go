package sim

import (
	"fmt"
	"math"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
)

// verify lists the assertions that did not hold, each with what was seen.
func (w *world) verify() []string {
	broken := []string{}
	for i, a := range w.scenario.Assertions {
		from, to := Elapsed(a.From), Elapsed(a.To)
		if a.At != 0 {
			from, to = Elapsed(a.At), Elapsed(a.At)+truthInterval
		}
		for _, why := range w.recorder.violations(a, from, to) {
			broken = append(broken, fmt.Sprintf("assertion %d, %v to %v: %s", i+1, time.Duration(from), time.Duration(to), why))
		}
	}
	return broken
}

func (r *recorder) violations(a Assertion, from, to Elapsed) []string {
	var out []string
	for _, s := range r.during(from, to) {
		out = append(out, s.violations(a)...)
	}
	window := r.error.Window(from, to)
	if limit := float64(a.MaxError); limit > 0 && window.Max() > limit {
		out = append(out, fmt.Sprintf("error %.0f ns, limit %.0f ns", window.Max(), limit))
	}
	if limit := float64(a.MaxRMS); limit > 0 && window.RMS() > limit {
		out = append(out, fmt.Sprintf("RMS %.0f ns, limit %.0f ns", window.RMS(), limit))
	}
	if a.Bounded > 0 {
		first := r.error.index(from)
		share, _ := bounded(window.Values, r.bound[first:first+len(window.Values)])
		if share < a.Bounded {
			out = append(out, fmt.Sprintf("the bound contained the truth in %.4f of the samples, want %g", share, a.Bounded))
		}
	}
	return out
}

// during returns what the arbiter said at from and until to.
func (r *recorder) during(from, to Elapsed) []slice {
	var out []slice
	for i, s := range r.slices {
		end := Elapsed(math.MaxInt64)
		if i+1 < len(r.slices) {
			end = r.slices[i+1].at
		}
		if s.at < to && end > from {
			out = append(out, s)
		}
	}
	return out
}

func (s slice) violations(a Assertion) []string {
	var out []string
	if a.Mode != "" && s.mode.String() != a.Mode {
		out = append(out, fmt.Sprintf("mode %v since %v, want %s", s.mode, time.Duration(s.at), a.Mode))
	}
	if a.Selected != "" && s.selected != a.Selected {
		out = append(out, fmt.Sprintf("selected %q since %v, want %q", s.selected, time.Duration(s.at), a.Selected))
	}
	if a.State != "" && s.state(a.Source).String() != a.State {
		out = append(out, fmt.Sprintf("%s is %v since %v, want %s", a.Source, s.state(a.Source), time.Duration(s.at), a.State))
	}
	return out
}

func (s slice) state(id sources.ID) arbiter.State {
	for i, known := range s.ids {
		if known == id {
			return s.states[i]
		}
	}
	return 0
}
