package roster

import "clockarbiter/sources"

// Expect tells what is known of the frequency of UTC against L before sources that are new from now on
// have shown anything; absent: nothing. Sources that are known already, with no sample yet, start with
// it too.
func (r *Roster) Expect(rate sources.Optional[sources.Rate]) {
	r.rate = rate
	for _, s := range r.sources {
		if !s.Newest.Present() {
			s.Tracker = r.newTracker(s.ID, s.Kind)
		}
	}
}

// newTracker returns a tracker without an estimate. The floor of its bound is the arbiter's to apply: a
// new plan may lower it.
func (r *Roster) newTracker(id sources.ID, kind sources.Kind) *sources.Tracker {
	return sources.NewTracker(sources.TrackerConfig{Source: id, Kind: kind, Rate: r.rate})
}
