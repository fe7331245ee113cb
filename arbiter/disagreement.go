package arbiter

import "fmt"

// contradiction decides where no majority exists. Two sources are answered as configured; more are
// never followed, because whatever majority they once had is gone.
func (a *Arbiter) contradiction(r *round, incumbent *view) {
	if r.vote.voters != 2 {
		r.fault(FaultNoMajority, "", fmt.Sprintf("at most %v sources agree", r.vote))
		r.none(RuleNoMajority, fmt.Sprintf("at most %v sources agree", r.vote))
		return
	}
	x, y := r.pair()
	what := fmt.Sprintf("%s (%s) and %s (%s) contradict each other and no third source settles it",
		x.ID, interval(x), y.ID, interval(y))
	r.fault(FaultDisagreement, "", what)
	r.change = "a third source that agrees with one of them, or their agreement"
	if winner, loser := witness(x, y); winner != nil {
		a.believe(r, winner, RuleWitness, fmt.Sprintf("%s; %s jumped against the local timescale and %s did not", what, loser.ID, winner.ID))
		return
	}
	a.answer(r, x, y, incumbent, what)
}

// pair returns the two that vote.
func (r *round) pair() (x, y *view) {
	for i := range r.views {
		v := &r.views[i]
		switch {
		case v.state != Falseticker || v.Options.NoSelect || v.refuted:
		case x == nil:
			x = v
		default:
			y = v
		}
	}
	return x, y
}

// witness asks the local oscillator: of two sources that agreed before, the one that jumped against L
// is the one that moved.
func witness(x, y *view) (winner, loser *view) {
	switch {
	case x.rec.jumped && !y.rec.jumped && y.rec.believed:
		return y, x
	case y.rec.jumped && !x.rec.jumped && x.rec.believed:
		return x, y
	}
	return nil, nil
}

// answer gives the configured answer.
func (a *Arbiter) answer(r *round, x, y, incumbent *view, what string) {
	switch a.cfg.Disagreement {
	case BetterBound:
		winner := x
		if better(y, x) < 0 {
			winner = y
		}
		a.believe(r, winner, RuleDisagreement, what+"; configured: follow the better bound")
	case HoldOver:
		r.none(RuleDisagreement, what+"; configured: follow neither")
	default:
		if incumbent != nil && (incumbent == x || incumbent == y) && !incumbent.rec.jumped {
			a.believe(r, incumbent, RuleDisagreement, what+"; configured: keep the incumbent")
			return
		}
		r.none(RuleDisagreement, what+"; configured: keep the incumbent, and none of them is one to keep")
	}
}

// believe takes a source that the vote could not confirm, once it has settled.
func (a *Arbiter) believe(r *round, v *view, rule, reason string) {
	if v.est.Samples-v.rec.base < a.needed(v.rec, r.in.Now) {
		r.none(rule, reason+"; it has yet to settle")
		return
	}
	r.take(v, rule, reason)
}
