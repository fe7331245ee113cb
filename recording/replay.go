package recording

import (
	"errors"
	"fmt"
	"io"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
)

// Program is what must be the same for decisions to be the same bit for bit.
type Program struct{ Version, Revision string }

// ErrOtherProgram marks a file that another version wrote.
var ErrOtherProgram = errors.New("another version")

// Matches returns an error that wraps ErrOtherProgram and says what to do where the file was written by
// another program than p.
func (h Header) Matches(p Program) error {
	was, is := Program{h.Version, h.Revision}, p
	if was.Revision == "" || is.Revision == "" {
		was.Revision, is.Revision = "", "" // one of the builders did not say
	}
	if was == is {
		return nil
	}
	return fmt.Errorf("recorded by %s, and this is %s: %w; only the version that made decisions repeats them bit for bit, replay with that one",
		Program{h.Version, h.Revision}, p, ErrOtherProgram)
}

func (p Program) String() string {
	if p.Revision == "" {
		return "clockarbiter " + p.Version
	}
	return fmt.Sprintf("clockarbiter %s (%s)", p.Version, p.Revision)
}

// Player runs a recording again: the same roster and the same arbiter, fed with the same inputs.
type Player struct {
	reader  *Reader
	roster  *roster.Roster
	arbiter *arbiter.Arbiter
	lost    uint64
}

// Step is one tick of a recording and what the machines of today decide on it.
type Step struct {
	Recorded Tick
	// Restored tells that the machines were set to a recorded state just before it.
	Restored bool
	Input    arbiter.Input
	Decision arbiter.Decision
}

// Same reports whether the decision is the recorded one, bit for bit.
func (s Step) Same() bool { return DigestOf(s.Decision) == s.Recorded.Digest }

// NewPlayer plays what r reads. A recording whose states have another layout is refused.
func NewPlayer(r *Reader) (*Player, error) {
	shape, err := Shape()
	if err != nil {
		return nil, err
	}
	if h := r.Header(); h.Shape != shape {
		return nil, fmt.Errorf("recorded by %s, whose states are laid out otherwise than this program's: %w; replay with that one",
			Program{h.Version, h.Revision}, ErrOtherProgram)
	}
	return &Player{reader: r}, nil
}

// Lost counts the entries that are missing so far.
func (p *Player) Lost() uint64 { return p.lost }

// Next plays up to the next tick; io.EOF at the end, or where the file was cut off.
func (p *Player) Next() (Step, error) { return p.next(func(Entry) error { return nil }) }

// next shows each entry that precedes the tick to aside before it is played.
func (p *Player) next(aside func(Entry) error) (Step, error) {
	restored := false
	for {
		e, err := p.reader.Next()
		if err != nil {
			return Step{}, err
		}
		if err := aside(e); err != nil {
			return Step{}, err
		}
		switch {
		case e.Keyframe != nil:
			if err := p.restore(e.Keyframe); err != nil {
				return Step{}, err
			}
			restored = true
		case e.Header != nil:
			return Step{}, errors.New("a second header")
		case e.End != nil:
		case p.arbiter == nil:
			return Step{}, errors.New("the recording does not begin with a state")
		case e.Tick != nil:
			return p.step(*e.Tick, restored), nil
		default:
			play(p.arbiter, p.roster, e)
		}
	}
}

func (p *Player) restore(k *Keyframe) error {
	a, r, err := k.Restore()
	if err != nil {
		return err
	}
	p.arbiter, p.roster = a, r
	p.lost += k.Lost
	return nil
}

// Restore returns the machines of a keyframe.
func (k *Keyframe) Restore() (*arbiter.Arbiter, *roster.Roster, error) {
	if k.sum() != k.Sum {
		return nil, nil, errors.New("a recorded state is damaged")
	}
	a, err := decodeState[arbiter.Arbiter](k.Arbiter)
	if err != nil {
		return nil, nil, fmt.Errorf("restore the arbiter: %w", err)
	}
	r, err := decodeState[roster.Roster](k.Roster)
	if err != nil {
		return nil, nil, fmt.Errorf("restore the roster: %w", err)
	}
	return a, r, nil
}

// play feeds what is no tick, as the control loop did.
func play(a *arbiter.Arbiter, r *roster.Roster, e Entry) {
	switch {
	case e.Update != nil:
		r.Take(e.Update.Now, e.Update.update())
	case e.Order != nil:
		r.Replan(e.Order.Plan)
		a.Configure(e.Order.Thresholds)
	case e.Expect != nil:
		r.Expect(e.Expect.Rate)
	case e.Table != nil:
		a.Consult(e.Table.Leaps)
	}
}

func (p *Player) step(t Tick, restored bool) Step {
	in := t.Input
	in.Candidates = p.roster.Input(in.Now, in.System).Candidates
	return Step{Recorded: t, Restored: restored, Input: in, Decision: p.arbiter.Step(in)}
}

// Verdict is the outcome of a replay.
type Verdict struct {
	Ticks    uint64            `json:"ticks"`
	From     timescale.Instant `json:"from"`
	To       timescale.Instant `json:"to"`
	Lost     uint64            `json:"lost"`
	Complete bool              `json:"complete"`
	// Cut says where the file was cut off, empty where it was not.
	Cut string `json:"cut,omitempty"`
	// Difference is the first decision that came out otherwise, nil where there is none.
	Difference *Difference `json:"difference,omitempty"`
}

// Difference is a decision that came out otherwise than recorded.
type Difference struct {
	ID             string            `json:"id"`
	At             timescale.Instant `json:"at"`
	RecordedDigest string            `json:"recorded_digest"`
	ReplayedDigest string            `json:"replayed_digest"`
	// Recorded is nil where only the digest of the decision was written.
	Recorded *arbiter.Decision `json:"recorded,omitempty"`
	Replayed arbiter.Decision  `json:"replayed"`
}

// Replay repeats every decision of a recording and stops at the first that comes out otherwise.
func Replay(r *Reader) (Verdict, error) {
	var v Verdict
	p, err := NewPlayer(r)
	if err != nil {
		return v, err
	}
	for {
		s, err := p.Next()
		v.Lost = p.Lost()
		if errors.Is(err, io.EOF) {
			return v.at(r), nil
		}
		if err != nil {
			return v, err
		}
		if v.Ticks++; v.Ticks == 1 {
			v.From = s.Input.Now
		}
		v.To = s.Input.Now
		if !s.Same() {
			v.Difference = &Difference{
				ID: r.Header().ID(s.Recorded.Number), At: s.Input.Now,
				RecordedDigest: s.Recorded.Digest, ReplayedDigest: DigestOf(s.Decision),
				Recorded: s.Recorded.Decision, Replayed: s.Decision,
			}
			return v, nil
		}
	}
}

// at completes the verdict with how the file ended.
func (v Verdict) at(r *Reader) Verdict {
	v.Complete = r.Cut() == nil
	if !v.Complete {
		v.Cut = r.Cut().Error()
	}
	return v
}
