package arbiter

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// liar is a source of a random scenario: honest within its bound, or off by lie from a second on.
type liar struct {
	bias, lie time.Duration
	from      int
	bound     time.Duration
	lost      [2]int // silent between these seconds
	ptp       bool
	prefer    bool
	track     uint32
	samples   int
	last      timescale.Instant
}

// history makes the inputs of a random scenario; honest sources contain UTC = L + 0 in their interval.
func history(seed uint64, seconds int) (inputs []Input, liars []liar) {
	rng := rand.New(rand.NewPCG(seed, 2))
	n := 1 + rng.IntN(7)
	for range n {
		bound := time.Duration(math.Exp(10 + 7*rng.Float64()))
		l := liar{bound: bound, bias: time.Duration((2*rng.Float64() - 1) * float64(bound)), from: seconds + 1, ptp: rng.IntN(3) == 0, prefer: rng.IntN(5) == 0, track: 1}
		if rng.IntN(3) == 0 {
			l.from, l.lie = rng.IntN(seconds), time.Duration((2*rng.Float64()-1)*1e8)
		}
		if rng.IntN(3) == 0 {
			l.lost[0] = rng.IntN(seconds)
			l.lost[1] = l.lost[0] + rng.IntN(30)
		}
		liars = append(liars, l)
	}
	system := time.Duration((2*rng.Float64() - 1) * 3e7)
	for second := range seconds {
		inputs = append(inputs, moment(second, system, liars))
	}
	return inputs, liars
}

func moment(second int, system time.Duration, liars []liar) Input {
	now := timescale.Instant(1e18).Add(time.Duration(second) * time.Second)
	in := Input{Now: now, System: system}
	for i := range liars {
		l := &liars[i]
		c := Candidate{ID: sources.ID(fmt.Sprintf("src:%02d", i)), Kind: sources.NTP, Options: Options{Prefer: l.prefer, MaxAge: 4 * time.Second}}
		if l.ptp {
			c.Kind = sources.PTP
		}
		if second < l.lost[0] || second >= l.lost[1] {
			l.samples++
			l.last = now
		}
		est := sources.Estimate{At: now, Offset: l.bias, Bound: l.bound, OffsetSD: l.bound / 10, FreqSDPPB: 3, WanderPPB: 1, Jitter: l.bound / 20, Track: l.track, Samples: l.samples, LastSample: l.last}
		if second >= l.from {
			est.Offset += l.lie
			est.Track = 2
		}
		if l.samples > 0 {
			c.Estimate = sources.Some(est)
		}
		c.Report = sources.Some(sources.Report{Source: c.ID, At: now, Condition: sources.Measuring})
		in.Candidates = append(in.Candidates, c)
	}
	return in
}

// honestMajority reports whether more than half of all sources tell the truth throughout, heard or not.
func honestMajority(liars []liar) bool {
	honest := 0
	for _, l := range liars {
		if l.lie == 0 && l.lost[1] == 0 {
			honest++
		}
	}
	return 2*honest > len(liars)
}

func TestInvariants(t *testing.T) {
	for seed := range uint64(150) {
		inputs, liars := history(seed, 60)
		a := New(DefaultConfig())
		number := uint64(0)
		for second, in := range inputs {
			d := a.Step(in)
			if err := sound(in, d, number+1); err != nil {
				t.Fatalf("seed %d, second %d: %v\n%+v", seed, second, err, d)
			}
			number = d.Number
			if honestMajority(liars) {
				if err := truthful(d, liars, second); err != nil {
					t.Fatalf("seed %d, second %d: %v\n%+v", seed, second, err, d)
				}
			}
		}
	}
}

// sound checks what holds of every decision whatever the input.
func sound(in Input, d Decision, number uint64) error {
	selected := 0
	for i, v := range d.Verdicts {
		switch {
		case v.ID != in.Candidates[i].ID:
			return fmt.Errorf("verdict %d is on %s", i, v.ID)
		case v.State == 0 || v.Reason == "":
			return fmt.Errorf("%s has no state or no reason", v.ID)
		case v.State == Selected:
			selected++
			if !d.Selected.Is(v.ID) {
				return fmt.Errorf("%s is marked selected", v.ID)
			}
		}
		if s, ok := v.Score.Get(); ok && (math.IsNaN(s) || math.IsInf(s, 0)) {
			return fmt.Errorf("score %v", s)
		}
	}
	step, stepped := d.Step.Get()
	following := d.Mode == Acquiring || d.Mode == Locked
	switch {
	case d.Number != number || d.Rule == "" || d.Reason == "" || d.Change == "":
		return fmt.Errorf("decision without number, rule, reason or what would change it")
	case len(d.Verdicts) != len(in.Candidates):
		return fmt.Errorf("%d verdicts", len(d.Verdicts))
	case selected > 1 || following != d.Selected.Present() || d.Selected.Present() != (selected == 1):
		return fmt.Errorf("%d selected in mode %v", selected, d.Mode)
	case d.Target.Present() != (d.Mode != FreeRunning) || d.Bound.Present() != d.Target.Present() || d.Bound.Or(0) < 0:
		return fmt.Errorf("target and bound do not fit mode %v", d.Mode)
	case stepped && (len(d.Agreement) == 0 || magnitude(step) <= DefaultConfig().Step.Threshold):
		return fmt.Errorf("step of %v with agreement of %v", step, d.Agreement)
	}
	for _, e := range d.Events {
		if e.Kind == 0 || e.Reason == "" {
			return fmt.Errorf("event without kind or reason: %+v", e)
		}
	}
	return nil
}

// truthful checks that the truth, which is L itself, is in the bound, and that no liar is followed.
func truthful(d Decision, liars []liar, second int) error {
	target, ok := d.Target.Get()
	if !ok {
		return nil
	}
	if bound := d.Bound.Or(0); magnitude(target.Offset) > bound {
		return fmt.Errorf("target %v +-%v excludes the truth", target.Offset, bound)
	}
	id, _ := d.Selected.Get()
	for i, l := range liars {
		lies := second >= l.from && magnitude(l.bias+l.lie) > l.bound
		if lies && id == sources.ID(fmt.Sprintf("src:%02d", i)) {
			return fmt.Errorf("liar %s is followed", id)
		}
	}
	return nil
}

func TestStepNeedsAgreement(t *testing.T) {
	for seed := range uint64(80) {
		inputs, liars := history(seed, 40)
		cfg := DefaultConfig()
		cfg.Step.MinAgreement, cfg.Step.WhenRunning = 3, true
		a := New(cfg)
		for _, in := range inputs {
			d := a.Step(in)
			if d.Step.Present() && len(d.Agreement) < min(3, len(liars)) {
				t.Fatalf("seed %d: step with the agreement of %v of %d sources", seed, d.Agreement, len(liars))
			}
		}
	}
}

// TestOrderOfSourcesNeverMatters, and neither does the day nor the sign.
func TestOrderOfSourcesNeverMatters(t *testing.T) {
	for seed := range uint64(60) {
		inputs, _ := history(seed, 40)
		rng := rand.New(rand.NewPCG(seed, 3))
		a, b := New(DefaultConfig()), New(DefaultConfig())
		for _, in := range inputs {
			want := a.Step(in)
			order := rng.Perm(len(in.Candidates))
			shuffled := in
			shuffled.Candidates = make([]Candidate, len(order))
			for i, j := range order {
				shuffled.Candidates[i] = in.Candidates[j]
			}
			got := b.Step(shuffled)
			verdicts := make([]Verdict, len(order))
			for i, j := range order {
				verdicts[j] = got.Verdicts[i]
			}
			got.Verdicts = verdicts
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("seed %d (-in order +shuffled):\n%s", seed, d)
			}
		}
	}
}

// essence is what a decision says apart from words and instants.
type essence struct {
	Mode     Mode
	Selected sources.Optional[sources.ID]
	Rule     string
	States   []State
	Target   time.Duration
	Bound    time.Duration
	Step     time.Duration
	Kinds    []EventKind
}

func essenceOf(d Decision, sign time.Duration) essence {
	target, _ := d.Target.Get()
	e := essence{Mode: d.Mode, Selected: d.Selected, Rule: d.Rule, Target: sign * target.Offset, Bound: d.Bound.Or(0), Step: sign * d.Step.Or(0)}
	for _, v := range d.Verdicts {
		e.States = append(e.States, v.State)
	}
	for _, ev := range d.Events {
		e.Kinds = append(e.Kinds, ev.Kind)
	}
	return e
}

func TestTimeShiftAndSign(t *testing.T) {
	for seed := range uint64(60) {
		inputs, _ := history(seed, 40)
		plain, shifted, mirrored := New(DefaultConfig()), New(DefaultConfig()), New(DefaultConfig())
		for _, in := range inputs {
			want := essenceOf(plain.Step(in), 1)
			if d := cmp.Diff(want, essenceOf(shifted.Step(transform(in, -7e17, 1)), 1)); d != "" {
				t.Fatalf("seed %d, on another day:\n%s", seed, d)
			}
			if d := cmp.Diff(want, essenceOf(mirrored.Step(transform(in, 0, -1)), -1)); d != "" {
				t.Fatalf("seed %d, with the other sign:\n%s", seed, d)
			}
		}
	}
}

func transform(in Input, shift timescale.Instant, sign time.Duration) Input {
	out := Input{Now: in.Now + shift, System: sign * in.System}
	for _, c := range in.Candidates {
		if e, ok := c.Estimate.Get(); ok {
			e.At, e.LastSample = e.At+shift, e.LastSample+shift
			e.Offset, e.FreqPPB = e.Offset*sign, e.FreqPPB*float64(sign)
			c.Estimate = sources.Some(e)
		}
		if r, ok := c.Report.Get(); ok {
			r.At += shift
			c.Report = sources.Some(r)
		}
		out.Candidates = append(out.Candidates, c)
	}
	return out
}

func TestReplayReproducesEveryDecision(t *testing.T) {
	for seed := range uint64(40) {
		inputs, _ := history(seed, 40)
		live, replay := New(DefaultConfig()), New(DefaultConfig())
		for _, in := range inputs {
			recorded, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			want, err := json.Marshal(live.Step(in))
			if err != nil {
				t.Fatal(err)
			}
			var again Input
			if err := json.Unmarshal(recorded, &again); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(replay.Step(again))
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != string(got) {
				t.Fatalf("seed %d:\nlive   %s\nreplay %s", seed, want, got)
			}
		}
	}
}

// FuzzStep feeds arbitrary figures, two candidates with one ID and instants that go back.
func FuzzStep(f *testing.F) {
	f.Add(uint64(1), int64(0), int64(1e9), int64(-5), 1.0)
	f.Add(uint64(2), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), math.Inf(1))
	f.Fuzz(func(t *testing.T, seed uint64, x, y, z int64, freq float64) {
		rng := rand.New(rand.NewPCG(seed, 4))
		pool := [...]int64{x, y, z, 0, 1, 1e6, 37e9, -37e9, math.MaxInt64, math.MinInt64, x + y, y - z}
		pick := func() int64 { return pool[rng.IntN(len(pool))] }
		cfg := DefaultConfig()
		cfg.Settle, cfg.MaxDistance, cfg.HoldoverMaxBound = rng.IntN(4), time.Duration(pick()), time.Duration(pick())
		a := New(cfg)
		for i := range 12 {
			in := Input{Now: timescale.Instant(pick()), System: time.Duration(pick())}
			for range rng.IntN(6) {
				in.Candidates = append(in.Candidates, Candidate{
					ID: sources.ID(fmt.Sprint(rng.IntN(4))), Kind: sources.Kind(rng.IntN(4)),
					Options: Options{Prefer: rng.IntN(2) == 0, Trust: rng.IntN(3) == 0, Require: rng.IntN(5) == 0, NoSelect: rng.IntN(5) == 0, Floor: time.Duration(pick()), MaxAge: time.Duration(pick())},
					Estimate: sources.Some(sources.Estimate{
						At: timescale.Instant(pick()), Offset: time.Duration(pick()), FreqPPB: freq, FreqSDPPB: float64(pick()), WanderPPB: freq,
						OffsetSD: time.Duration(pick()), Jitter: time.Duration(pick()), Bound: time.Duration(pick()),
						Track: uint32(rng.IntN(3)), Samples: int(pick()), LastSample: timescale.Instant(pick()),
					}),
				})
			}
			if err := sound(in, a.Step(in), uint64(i+1)); err != nil {
				t.Fatalf("%v\n%+v", err, in)
			}
		}
	})
}
