package arbiter

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/sources"
)

func TestTimersThatAreRunning(t *testing.T) {
	const now = 100_000_000_000
	since := sources.Some(Input{Now: now - 2_000_000_000}.Now)
	incumbent := &view{Candidate: &Candidate{ID: "a"}, rec: &record{}, state: Selected}
	better := &view{Candidate: &Candidate{ID: "b"}, rec: &record{}, state: Selectable}
	moved := view{Candidate: &Candidate{ID: "c"}, rec: &record{moved: &displacement{since: since.Or(0)}}}
	for _, c := range []struct {
		name string
		set  func(*Arbiter, *round)
		want []Timer
	}{
		{"none in steady state", func(_ *Arbiter, r *round) { r.chosen, r.ranked = incumbent, []*view{incumbent} }, nil},
		{"a better source waits", func(a *Arbiter, r *round) {
			a.timers.beaten, r.chosen, r.ranked = since, incumbent, []*view{better, incumbent}
			a.timers.best, incumbent.score = 1, 1
		}, []Timer{{TimerImprovement, "b", 8 * time.Second}}},
		{"a worsened incumbent is kept", func(a *Arbiter, r *round) { a.timers.degraded, r.chosen = since, incumbent }, []Timer{{TimerDegradation, "a", time.Second}}},
		{"a step waits for agreement", func(a *Arbiter, r *round) { a.step.waiting, r.rule = since, RuleAgreement }, []Timer{{TimerAgreement, "", 8 * time.Second}}},
		{"holdover, and one that moved", func(a *Arbiter, r *round) {
			a.follow.holding, r.views = since, []view{moved}
		}, []Timer{{TimerHoldover, "", 24*time.Hour - 2*time.Second}, {TimerQuarantine, "c", 24*time.Hour - 2*time.Second}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, r := New(DefaultConfig()), &round{in: Input{Now: now}}
			c.set(a, r)
			if diff := cmp.Diff(c.want, a.running(r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
