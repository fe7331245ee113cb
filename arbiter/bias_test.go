package arbiter

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/sources"
)

// pupil is a bias of 300 us of an NTP server, learnt two hours before noon.
var pupil = Bias{ID: "ntp:a", Offset: 300 * time.Microsecond, SD: time.Microsecond, Learnt: noon.Add(-2 * time.Hour)}

func TestAnInheritedBiasIsUsedAtOnceWhileItHolds(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		id     sources.ID
		change func(*Bias, *Config)
		used   time.Duration
	}{
		{"a good one", "ntp:a", func(*Bias, *Config) {}, 300 * time.Microsecond},
		{"of another source", "ntp:b", func(*Bias, *Config) {}, 0},
		{"too old", "ntp:a", func(_ *Bias, c *Config) { c.BiasMaxAge = time.Hour }, 0},
		{"of the future", "ntp:a", func(b *Bias, _ *Config) { b.Learnt = noon.Add(2 * time.Hour) }, 0},
		{"switched off", "ntp:a", func(_ *Bias, c *Config) { c.LearnBias = false }, 0},
		{"more than the path can hide", "ntp:a", func(b *Bias, _ *Config) { b.Offset = time.Second }, time.Millisecond},
		{"of the same grandmaster", "ptp:a", func(b *Bias, _ *Config) { b.ID, b.Reference = "ptp:a", "gm" }, 300 * time.Microsecond},
		{"of another grandmaster", "ptp:a", func(b *Bias, _ *Config) { b.ID, b.Reference = "ptp:a", "other" }, 0},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			b, cfg := pupil, DefaultConfig()
			tt.change(&b, &cfg)
			s := newStage(cfg, noon, tt.id)
			s.quality(0, func(q *sources.Quality) { q.Reference = "gm" })
			s.arb.Inherit([]Bias{b})
			s.next(6)
			target, _ := s.d.Target.Get()
			if target.Offset != -tt.used || s.d.Verdicts[0].Bias.Or(0) != tt.used {
				t.Errorf("target %v, bias %v; want %v taken off", target.Offset, s.d.Verdicts[0].Bias, tt.used)
			}
			if old := s.d.Verdicts[0].BiasAge; tt.used != 0 && !old.Is(2*time.Hour+6*time.Second) {
				t.Errorf("age %v", old)
			}
			if bound := s.d.Bound.Or(0); bound < time.Millisecond+tt.used {
				t.Errorf("bound %v leaves out a part of the source's own interval", bound)
			}
		})
	}
}

func TestBiasesAreHandedOnUntilTheyAreTooOld(t *testing.T) {
	s := newStage(DefaultConfig(), noon, "ntp:a", "ntp:c")
	absent := pupil
	absent.ID = "ntp:pool/9"
	s.arb.Inherit([]Bias{absent, pupil})
	s.next(6)
	if diff := cmp.Diff([]Bias{pupil, absent}, s.arb.Biases(s.in.Now)); diff != "" {
		t.Error(diff)
	}
	if got := s.arb.Biases(s.in.Now.Add(23 * time.Hour)); len(got) != 0 {
		t.Errorf("after 25 h: %v", got)
	}
	cfg := DefaultConfig()
	cfg.LearnBias = false
	s.arb.Configure(cfg)
	if got := s.arb.Biases(s.in.Now); len(got) != 0 {
		t.Errorf("switched off: %v", got)
	}
}

func TestWhatIsLearntReplacesWhatWasInheritedWhenItIsAsSure(t *testing.T) {
	s := newStage(DefaultConfig(), noon, "ntp:a", "ptp:eth0")
	s.estimate(0, func(e *sources.Estimate) { e.Offset = 100 * time.Microsecond })
	s.estimate(1, func(e *sources.Estimate) { e.Bound, e.OffsetSD = 10*time.Microsecond, 10 })
	b := pupil
	b.Learnt, b.SD = noon, 10
	s.arb.Inherit([]Bias{b})
	s.next(12)
	if got := s.d.Verdicts[0].Bias; !got.Is(300 * time.Microsecond) {
		t.Errorf("after 12 samples: bias %v, want the inherited one", got)
	}
	s.next(600)
	got := s.d.Verdicts[0]
	if d := got.Bias.Or(0) - 100*time.Microsecond; d.Abs() > time.Microsecond || !got.BiasAge.Is(0) {
		t.Errorf("after 10 min with PTP: bias %v, %v old; want 100us, now", got.Bias, got.BiasAge)
	}
	kept := s.arb.Biases(s.in.Now)
	if len(kept) != 1 || kept[0].Offset != got.Bias.Or(0) || kept[0].Learnt.Sub(s.in.Now).Abs() > time.Second {
		t.Errorf("handed on: %+v", kept)
	}
}

func TestTheNewestBiasesAreHandedOn(t *testing.T) {
	var list []Bias
	for i := range MaxBiases + 10 {
		b := pupil
		b.ID, b.Learnt = sources.ID(fmt.Sprintf("ntp:%03d", i)), noon.Add(-time.Duration(i)*time.Minute)
		list = append(list, b)
	}
	s := newStage(DefaultConfig(), noon, "ntp:a")
	s.arb.Inherit(list)
	s.next(6)
	if diff := cmp.Diff(list[:MaxBiases], s.arb.Biases(s.in.Now)); diff != "" {
		t.Error(diff)
	}
}
