package recording

import (
	"encoding/json"
	"fmt"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// Format is the version of the file format. A reader refuses every other.
const Format = 1

// Entry is one line: exactly one of its members is there.
type Entry struct {
	Header   *Header   `json:"header,omitempty"`
	Keyframe *Keyframe `json:"keyframe,omitempty"`
	Update   *Update   `json:"update,omitempty"`
	Order    *Order    `json:"order,omitempty"`
	Expect   *Expect   `json:"expect,omitempty"`
	Table    *Table    `json:"table,omitempty"`
	Tick     *Tick     `json:"tick,omitempty"`
	End      *End      `json:"end,omitempty"`
}

// Header is the first entry of a file: who wrote it and under which configuration.
type Header struct {
	Format int `json:"format"`
	// Version and Revision are the program's and its source's; Shape is a digest of the layout of
	// everything that a keyframe or a digest holds.
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Shape    string `json:"shape"`
	// Boot is the run of the supervisor: the first part of the identifier of each decision.
	Boot string `json:"boot"`
	// Started is when the run began, Sequence counts the files in their directory.
	Started  timescale.Instant `json:"started"`
	Sequence int               `json:"sequence"`
	// Configuration is as it was at the start of the run, with every default; Thresholds and Plan
	// are what the arbitration used of it. An Order replaces them.
	Configuration json.RawMessage  `json:"configuration,omitempty"`
	Thresholds    arbiter.Config   `json:"thresholds"`
	Plan          []roster.Planned `json:"plan"`
}

// Keyframe is the whole state before the entry that follows it. Lost counts the entries that are
// missing before it: the queue or the disk was full.
type Keyframe struct {
	Lost    uint64 `json:"lost,omitempty"`
	Arbiter []byte `json:"arbiter"`
	Roster  []byte `json:"roster"`
	// Sum is the digest of both: a damaged state is refused rather than run.
	Sum string `json:"sum"`
}

// Update is what an adapter handed to the control loop, with the instant at which it was taken.
type Update struct {
	Now     timescale.Instant `json:"now"`
	Samples []sources.Sample  `json:"samples,omitempty"`
	Reports []sources.Report  `json:"reports,omitempty"`
}

func (u Update) update() sources.Update {
	return sources.Update{Samples: u.Samples, Reports: u.Reports}
}

// Order is another plan and other thresholds, from a reload.
type Order struct {
	Plan       []roster.Planned `json:"plan"`
	Thresholds arbiter.Config   `json:"thresholds"`
}

// Expect is what new sources are told of the rate of L from now on.
type Expect struct {
	Rate sources.Optional[sources.Rate] `json:"rate"`
}

// Table is the leap second table that the arbiter consults from now on.
type Table struct {
	Leaps arbiter.LeapTable `json:"leaps"`
}

// Tick is one arbitration.
type Tick struct {
	Number uint64 `json:"number"`
	// Input has its candidates only where Decision is there: they follow from the updates.
	Input arbiter.Input `json:"input"`
	// Digest is the decision's, see DigestOf.
	Digest string `json:"digest"`
	// Applied tells that the writer was allowed to act on the decision.
	Applied bool `json:"applied"`
	// Kind and Decision are there where the decision is news, and once a minute.
	Kind     string            `json:"kind,omitempty"`
	Decision *arbiter.Decision `json:"decision,omitempty"`
}

// End is the last entry of a file that was closed in order.
type End struct {
	Ticks uint64 `json:"ticks"`
}

// ID is the identifier of a decision, as journal and status show it: the run and the number within it.
func (h Header) ID(number uint64) string { return fmt.Sprintf("%s-%d", h.Boot, number) }

// members counts what an entry has; anything but 1 is no entry.
func (e Entry) members() int {
	n := 0
	for _, there := range [...]bool{e.Header != nil, e.Keyframe != nil, e.Update != nil, e.Order != nil, e.Expect != nil, e.Table != nil, e.Tick != nil, e.End != nil} {
		if there {
			n++
		}
	}
	return n
}
