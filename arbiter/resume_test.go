package arbiter_test

import (
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
)

// restart is a successor that continues h after gap, and has heard nothing yet.
func (h *host) restart(gap time.Duration) {
	var in arbiter.Input
	for _, s := range h.servers {
		c := arbiter.Candidate{ID: s.id, Kind: s.kind}
		if e, ok := s.tracker.Estimate(h.now); ok {
			c.Estimate = sources.Some(e)
		}
		in.Candidates = append(in.Candidates, c)
	}
	h.now = h.now.Add(gap)
	h.truth += h.freqPPB * gap.Seconds()
	h.system += h.freqPPB * gap.Seconds()
	in.Now = h.now
	h.arb.Resume(in)
	for _, s := range h.servers {
		s.next = h.now.Add(2 * time.Second)
	}
}

func verdict(d arbiter.Decision, id sources.ID) arbiter.Verdict {
	for _, v := range d.Verdicts {
		if v.ID == id {
			return v
		}
	}
	return arbiter.Verdict{}
}

func TestAResumedRunHoldsOverUntilASourceIsHeard(t *testing.T) {
	h := newHost(1)
	h.settle(t, time.Minute)
	h.restart(time.Second)
	d := h.tick()
	if d.Mode != arbiter.Holdover || d.Selected.Present() || d.Number != 1 || d.Rule != arbiter.RuleSettling {
		t.Errorf("first decision %d: %v, following %v by %s: %s", d.Number, d.Mode, d.Selected, d.Rule, d.Reason)
	}
	for h.since() < time.Minute+10*time.Second && d.Mode != arbiter.Locked {
		d = h.tick()
	}
	if after := h.since() - time.Minute - 3*time.Second; after > period || d.Mode != arbiter.Locked || !d.Selected.Is("ptp:eth0") {
		t.Errorf("%v after the first sample: %v, following %v: %s", after, d.Mode, d.Selected, d.Reason)
	}
}

func TestASourceThatJumpedMeanwhileSettlesAnew(t *testing.T) {
	h := newHost(2)
	h.settle(t, time.Minute)
	h.servers[3].lie = 2e6
	h.restart(time.Second)
	for h.since() < 2*time.Minute {
		if d := h.tick(); d.Selected.Is("ptp:eth0") {
			t.Fatalf("%v after the restart a source that jumped by 2 ms is followed: %s", h.since()-time.Minute, d.Reason)
		}
	}
	if e := h.err().Abs(); e > 100*time.Microsecond {
		t.Errorf("the clock is %v off", e)
	}
}

func TestAConvictedSourceStaysOut(t *testing.T) {
	h := newHost(3)
	h.settle(t, time.Minute)
	h.servers[0].lie = 15e6
	var d arbiter.Decision
	for range 120 {
		d = h.tick()
	}
	if v := verdict(d, "ntp:a"); v.State != arbiter.Falseticker {
		t.Fatalf("before the restart it is %v: %s", v.State, v.Reason)
	}
	h.restart(5 * time.Second)
	for range 120 {
		d = h.tick()
		if v := verdict(d, "ntp:a"); v.State >= arbiter.Settling {
			t.Fatalf("after the restart it is %v: %s", v.State, v.Reason)
		}
	}
}

// One whose estimate got stale and that is not heard within a minute is as new as any other.
func TestOneSampleIsEnoughForAMinuteOnly(t *testing.T) {
	h := newHost(4)
	h.settle(t, time.Minute)
	for _, s := range h.servers {
		s.silent = true
	}
	h.restart(time.Second)
	for h.since() < 3*time.Minute {
		h.tick()
	}
	ptp := h.servers[3]
	ptp.silent, ptp.next = false, h.now.Add(ptp.every)
	heard := 0
	for d := h.tick(); d.Mode != arbiter.Locked; d = h.tick() {
		if heard++; heard > 100 {
			t.Fatalf("not locked: %s", d.Reason)
		}
	}
	if after := time.Duration(heard) * period; after < 3*time.Second {
		t.Errorf("locked %v after two minutes of silence", after)
	}
}

func TestOnlyAStateToHoldOverFromIsSound(t *testing.T) {
	h := newHost(5)
	if h.arb.Sound() {
		t.Error("an arbiter that has followed nothing")
	}
	h.settle(t, 30*time.Second)
	if !h.arb.Sound() {
		t.Error("an arbiter that follows a source")
	}
}
