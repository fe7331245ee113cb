package arbiter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
)

// TestALimitIsViolatedWhenItWasForetold: with every source lost the bound grows as it was said before.
func TestALimitIsViolatedWhenItWasForetold(t *testing.T) {
	for seed := range uint64(2) {
		h := newHost(seed)
		cfg := arbiter.DefaultConfig()
		cfg.Limits = []time.Duration{40 * time.Microsecond, 60 * time.Microsecond, 200 * time.Microsecond}
		h.arb.Configure(cfg)
		h.settle(t, 300*time.Second)
		d := h.tick()
		foretold := map[time.Duration]time.Duration{}
		for _, l := range d.Limits {
			left, ok := l.Left.Get()
			if l.Violated || !ok {
				t.Fatalf("seed %d: %+v before the loss, bound %v", seed, l, d.Bound)
			}
			foretold[l.Limit] = h.since() + left
		}
		violated := map[time.Duration]time.Duration{}
		for h.since() < 2*time.Hour && len(violated) < len(cfg.Limits) {
			d = h.alone(d)
			for _, l := range d.Limits {
				if l.Violated && violated[l.Limit] == 0 {
					violated[l.Limit] = h.since()
				}
			}
		}
		for _, limit := range cfg.Limits {
			at, want := violated[limit], foretold[limit]
			t.Logf("seed %d: %v foretold at %v, violated at %v", seed, limit, want.Round(time.Second), at)
			if off := (at - want).Abs(); at == 0 || off > 2*time.Second {
				t.Errorf("seed %d: %v was foretold at %v and came at %v", seed, limit, want, at)
			}
		}
	}
}

// alone is a tick in which every source says that it is gone and the clock follows the target exactly.
func (h *host) alone(before arbiter.Decision) arbiter.Decision {
	h.now = h.now.Add(period)
	target, _ := before.Target.Get()
	in := arbiter.Input{Now: h.now, System: target.Project(h.now).Offset}
	for _, s := range h.servers {
		in.Candidates = append(in.Candidates, arbiter.Candidate{ID: s.id, Kind: s.kind, Report: sources.Some(sources.Report{Source: s.id, At: h.now, Condition: sources.Unreachable})})
	}
	return h.arb.Step(in)
}

func TestALimitIsReportedOnceWhenItIsViolatedAndWhenItIsMetAgain(t *testing.T) {
	arb := arbiter.New(arbiter.DefaultConfig())
	now := start
	var got []string
	step := func(bound, system time.Duration, heard bool, n int) {
		for range n {
			now = now.Add(time.Second)
			e := sources.Estimate{At: now, Bound: bound, OffsetSD: time.Microsecond, FreqSDPPB: 5, Track: 1, Samples: 10, LastSample: now}
			c := arbiter.Candidate{ID: "ntp:a", Kind: sources.NTP, Estimate: sources.Some(e)}
			if !heard {
				c.Report = sources.Some(sources.Report{Source: "ntp:a", Condition: sources.Unreachable})
			}
			for _, ev := range arb.Step(arbiter.Input{Now: now, System: system, Candidates: []arbiter.Candidate{c}}).Events {
				if ev.Kind == arbiter.LimitViolated || ev.Kind == arbiter.LimitMet {
					got = append(got, fmt.Sprintf("%v %s%s %v", ev.Kind, ev.From, ev.To, ev.Bound))
				}
			}
		}
	}
	step(800*time.Microsecond, 0, true, 10)                   // 100us was never met: no news
	step(1100*time.Microsecond, 0, true, 3)                   // 1ms is violated
	step(950*time.Microsecond, 0, true, 3)                    // not yet met again
	step(500*time.Microsecond, 0, true, 3)                    // met
	step(500*time.Microsecond, 600*time.Microsecond, true, 3) // the clock is too far from the target
	step(500*time.Microsecond, 0, true, 3)                    // and back
	want := []string{"limit-violated 1ms 1.1ms", "limit-met 1ms 500µs", "limit-violated 1ms 1.1ms", "limit-met 1ms 500µs"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cfg := arbiter.DefaultConfig()
	cfg.HoldoverMaxTime = time.Second
	arb.Configure(cfg)
	got = nil
	step(500*time.Microsecond, 0, false, 5)
	if diff := cmp.Diff([]string{"limit-violated 1ms -", "limit-violated 50ms -"}, got); diff != "" {
		t.Error(diff)
	}
}
