package recording

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Comparison is what another configuration would have decided on a recording. The clock's course is the
// recorded one, but for steps that only one of the two orders: what a slew would have done to the clock
// is not simulated.
type Comparison struct {
	Verdict Verdict `json:"verdict"`
	// Spans are the stretches in which the two decide differently, in order.
	Spans    []Span  `json:"spans"`
	Recorded Account `json:"recorded"`
	Other    Account `json:"other"`
}

// Span is a stretch of time in which neither side changes and the two differ.
type Span struct {
	From timescale.Instant `json:"from"`
	To   timescale.Instant `json:"to"`
	// ID is the first recorded decision in it.
	ID       string `json:"id"`
	Recorded Stance `json:"recorded"`
	Other    Stance `json:"other"`
}

// Stance is a decision as far as it is compared.
type Stance struct {
	Mode     arbiter.Mode `json:"mode"`
	Selected sources.ID   `json:"selected"`
	// Faults are names with their sources, as "jump of ptp:eth0:0".
	Faults []string `json:"faults"`
	// Rule and Reason are of the first decision in the span; they are not compared.
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
}

// Account is what one side did in sum.
type Account struct {
	// Followed is the time for which each source was followed, in the order of their IDs; an empty
	// ID is no source.
	Followed []Share `json:"followed"`
	Modes    []Share `json:"modes"`
	Switches int     `json:"switches"`
	Steps    []Jump  `json:"steps"`
}

// Share is the time spent in one way.
type Share struct {
	Name string        `json:"name"`
	Time time.Duration `json:"time_ns"`
}

// Jump is a step that was ordered.
type Jump struct {
	At     timescale.Instant `json:"at"`
	Amount time.Duration     `json:"amount_ns"`
}

// Other is a configuration as far as the arbitration is concerned.
type Other struct {
	Plan       []roster.Planned
	Thresholds arbiter.Config
}

// maxGap is the longest time between two ticks that counts as spent: what is longer was not recorded.
const maxGap = 10 * time.Second

// comparer runs both sides of a comparison.
type comparer struct {
	other   Other
	roster  *roster.Roster
	arbiter *arbiter.Arbiter
	// shift is what the other side stepped the clock by and the recorded side did not.
	shift    time.Duration
	open     bool // the last span goes on
	before   timescale.Instant
	out      Comparison
	recorded tally
	others   tally
}

// Compare runs a recording with its own configuration and with another.
func Compare(r *Reader, other Other) (Comparison, error) {
	p, err := NewPlayer(r)
	if err != nil {
		return Comparison{}, err
	}
	c := &comparer{other: other}
	for {
		s, err := p.next(c.aside)
		if err != nil && !errors.Is(err, io.EOF) {
			return Comparison{}, err
		}
		if err != nil {
			c.out.Verdict = c.out.Verdict.at(r)
			c.out.Verdict.Lost = p.Lost()
			c.out.Recorded, c.out.Other = c.recorded.account(), c.others.account()
			return c.out, nil
		}
		c.step(r.Header().ID(s.Recorded.Number), s)
	}
}

// aside feeds the other side what the recorded one is fed. Orders are not followed: the other
// configuration holds throughout.
func (c *comparer) aside(e Entry) error {
	switch {
	case e.Keyframe != nil:
		a, r, err := e.Keyframe.Restore()
		if err != nil {
			return err
		}
		c.arbiter, c.roster = a, r
		c.arbiter.Configure(c.other.Thresholds)
		c.roster.Replan(c.other.Plan)
		c.shift = 0
	case (e.Update != nil || e.Expect != nil || e.Table != nil) && c.arbiter != nil:
		play(c.arbiter, c.roster, e)
	}
	return nil
}

func (c *comparer) step(id string, s Step) {
	in := s.Recorded.Input
	in.System += c.shift
	in.Candidates = c.roster.Input(in.Now, in.System).Candidates
	d := c.arbiter.Step(in)
	c.verify(id, s)

	spent := in.Now.Sub(c.before)
	if c.before == 0 || spent < 0 || spent > maxGap {
		spent = 0
	}
	c.before = in.Now
	c.recorded.add(s.Decision, spent)
	c.others.add(d, spent)
	c.put(id, in.Now, stanceOf(s.Decision), stanceOf(d))

	// From the next reading on, the recorded clock has made the recorded step.
	if s.Recorded.Applied {
		c.shift += d.Step.Or(0) - s.Decision.Step.Or(0)
	}
}

// verify keeps the first decision that the recorded side does not repeat: what follows is then a
// comparison with what this program would have done, not with what was done.
func (c *comparer) verify(id string, s Step) {
	v := &c.out.Verdict
	if v.Ticks++; v.Ticks == 1 {
		v.From = s.Input.Now
	}
	v.To = s.Input.Now
	if v.Difference == nil && !s.Same() {
		v.Difference = &Difference{
			ID: id, At: s.Input.Now, RecordedDigest: s.Recorded.Digest, ReplayedDigest: DigestOf(s.Decision),
			Recorded: s.Recorded.Decision, Replayed: s.Decision,
		}
	}
}

// put extends the last span or begins another.
func (c *comparer) put(id string, at timescale.Instant, recorded, other Stance) {
	if c.open {
		last := &c.out.Spans[len(c.out.Spans)-1]
		last.To = at
		if last.Recorded.same(recorded) && last.Other.same(other) {
			return
		}
	}
	if c.open = !recorded.same(other); c.open {
		c.out.Spans = append(c.out.Spans, Span{From: at, To: at, ID: id, Recorded: recorded, Other: other})
	}
}

func stanceOf(d arbiter.Decision) Stance {
	s := Stance{Mode: d.Mode, Selected: d.Selected.Or(""), Rule: d.Rule, Reason: d.Reason, Faults: []string{}}
	for _, f := range d.Faults {
		name := f.Name
		if f.Source != "" {
			name += " of " + string(f.Source)
		}
		s.Faults = append(s.Faults, name)
	}
	slices.Sort(s.Faults)
	return s
}

func (s Stance) same(t Stance) bool {
	return s.Mode == t.Mode && s.Selected == t.Selected && slices.Equal(s.Faults, t.Faults)
}

// tally sums up one side.
type tally struct {
	followed, modes []Share
	selected        sources.Optional[sources.ID]
	mode            arbiter.Mode
	started         bool
	switches        int
	steps           []Jump
}

// add counts the time up to d for what was decided before it.
func (t *tally) add(d arbiter.Decision, spent time.Duration) {
	if t.started {
		t.followed = spend(t.followed, string(t.selected.Or("")), spent)
		t.modes = spend(t.modes, t.mode.String(), spent)
		if d.Selected != t.selected {
			t.switches++
		}
	}
	t.started, t.selected, t.mode = true, d.Selected, d.Mode
	if step, ok := d.Step.Get(); ok {
		t.steps = append(t.steps, Jump{At: d.At, Amount: step})
	}
}

func spend(list []Share, name string, spent time.Duration) []Share {
	i, ok := slices.BinarySearchFunc(list, name, func(s Share, name string) int { return strings.Compare(s.Name, name) })
	if !ok {
		list = slices.Insert(list, i, Share{Name: name})
	}
	list[i].Time += spent
	return list
}

func (t *tally) account() Account {
	return Account{Followed: t.followed, Modes: t.modes, Switches: t.switches, Steps: t.steps}
}
