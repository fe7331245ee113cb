package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/recording"
	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

// explanation is a decision in words, for a person and for programs alike.
type explanation struct {
	ID string `json:"id"`
	// Asked is the decision that was asked for, where it repeats the explained one.
	Asked string `json:"asked,omitempty"`
	// By is the decision that what is done now goes back to, and Since its time; of now only.
	By    string `json:"by,omitempty"`
	Since string `json:"since,omitempty"`
	// Note says where the recordings end before the time that was asked for.
	Note    string `json:"note,omitempty"`
	Kind    string `json:"kind"`
	At      string `json:"at"`
	Summary string `json:"summary"`
	Rule    string `json:"rule"`
	Meaning string `json:"meaning"`
	Reason  string `json:"reason"`
	Change  string `json:"change"`

	Selected sources.Optional[sources.ID] `json:"selected"`
	Combined []sources.ID                 `json:"combined"`
	Rejected []rejected                   `json:"rejected"`
	Timers   []timer                      `json:"timers"`
	Faults   []fault                      `json:"faults"`
	Step     *step                        `json:"step"`
	Events   []string                     `json:"events"`
	Limits   []string                     `json:"limits"`
	// Leap says what is done about a leap second, empty on every other day.
	Leap string `json:"leap,omitempty"`
	// Recorded is the decision itself with its inputs.
	Recorded recording.Found `json:"recorded"`
}

// rejected is a source that was not followed, and why not.
type rejected struct {
	Source sources.ID                      `json:"source"`
	State  string                          `json:"state"`
	Offset sources.Optional[time.Duration] `json:"offset_ns"`
	Bound  sources.Optional[time.Duration] `json:"bound_ns"`
	Score  sources.Optional[float64]       `json:"score"`
	Reason string                          `json:"reason"`
}

type timer struct {
	Name   string        `json:"name"`
	Source sources.ID    `json:"source"`
	Left   time.Duration `json:"left_ns"`
	Then   string        `json:"then"`
}

type fault struct {
	Name     string     `json:"name"`
	Source   sources.ID `json:"source"`
	Evidence string     `json:"evidence"`
	Advice   string     `json:"advice"`
}

type step struct {
	Amount    time.Duration `json:"amount_ns"`
	Agreement []sources.ID  `json:"agreement"`
	Applied   bool          `json:"applied"`
}

// explain puts a decision into words.
func explain(f recording.Found) explanation {
	d := f.Decision
	e := explanation{
		ID: f.ID, Kind: f.Kind, At: d.At.Near().Format(time.RFC3339Nano), Summary: summary(f),
		Rule: d.Rule, Meaning: supervisor.RuleMeaning(d.Rule), Reason: d.Reason, Change: d.Change,
		Selected: d.Selected, Combined: list(d.Combined), Recorded: f,
		Rejected: []rejected{}, Timers: []timer{}, Faults: []fault{}, Events: []string{}, Limits: limitsOf(d.Limits), Leap: leapWords(d),
	}
	for _, v := range d.Verdicts {
		if !d.Selected.Is(v.ID) && !slices.Contains(d.Combined, v.ID) {
			e.Rejected = append(e.Rejected, rejected{v.ID, v.State.String(), v.Offset, v.Bound, v.Score, v.Reason})
		}
	}
	for _, t := range d.Timers {
		e.Timers = append(e.Timers, timer{t.Name, t.Source, t.Left, then(t)})
	}
	for _, f := range d.Faults {
		e.Faults = append(e.Faults, fault{f.Name, f.Source, f.Evidence, supervisor.Advice(f.Name)})
	}
	if amount, ok := d.Step.Get(); ok {
		e.Step = &step{amount, list(d.Agreement), f.Applied}
	}
	for _, ev := range d.Events {
		e.Events = append(e.Events, supervisor.Sentence(ev))
	}
	return e
}

// explainNow puts what is decided at present into words.
func explainNow(st supervisor.Status) explanation {
	e := explain(st.Newest)
	e.By, e.Since = st.Decision.ID, st.Decision.Since.Format(time.RFC3339Nano)
	for _, text := range st.Decision.Faults {
		if !slices.ContainsFunc(e.Faults, func(f fault) bool { return strings.HasPrefix(text, f.title()+": ") }) {
			name, evidence, _ := strings.Cut(text, ": ")
			e.Faults = append(e.Faults, fault{Name: name, Evidence: evidence, Advice: supervisor.Advice(name)})
		}
	}
	return e
}

// title is the fault with its source.
func (f fault) title() string {
	if f.Source == "" {
		return f.Name
	}
	return f.Name + " of " + string(f.Source)
}

// list is never null in JSON.
func list(ids []sources.ID) []sources.ID { return append([]sources.ID{}, ids...) }

// summary says what the clock does.
func summary(f recording.Found) string {
	d := f.Decision
	selected := string(d.Selected.Or(""))
	if len(d.Combined) > 1 {
		selected = fmt.Sprintf("%s, combined with %s", selected, joined(d.Combined, d.Selected))
	}
	good := ""
	if b, ok := d.Bound.Get(); ok {
		good = fmt.Sprintf("; UTC is known to %s", strings.TrimPrefix(span(sources.Some(b)), "+"))
	}
	switch d.Mode {
	case arbiter.Locked:
		return "The clock is locked to " + selected + good + "."
	case arbiter.Acquiring:
		return "The clock is on its way to " + selected + ", not within the lock threshold yet" + good + "."
	case arbiter.Holdover:
		return "Holdover: no source is followed, the clock keeps its last good rate" + good + "."
	default:
		return "The clock runs free: no source is followed, and there is nothing to hold it by."
	}
}

func joined(ids []sources.ID, but sources.Optional[sources.ID]) string {
	var words []string
	for _, id := range ids {
		if !but.Is(id) {
			words = append(words, string(id))
		}
	}
	return strings.Join(words, ", ")
}

// then says what happens when a timer is over.
func then(t arbiter.Timer) string {
	switch t.Name {
	case arbiter.TimerImprovement:
		return fmt.Sprintf("%s is selected if it stays better", t.Source)
	case arbiter.TimerDegradation:
		return fmt.Sprintf("%s is left unless it recovers", t.Source)
	case arbiter.TimerAgreement:
		return "the clock is followed without a step unless other sources agree to it"
	case arbiter.TimerHoldover:
		return "holdover ends and the clock runs free; its error bound may end it before"
	case arbiter.TimerQuarantine:
		return fmt.Sprintf("%s is heard again although it has not returned", t.Source)
	default:
		return "it is over"
	}
}

// print writes the explanation for a person.
func (e explanation) print(w io.Writer) {
	if e.Asked != "" {
		fmt.Fprintf(w, "Decision %s repeats %s but for its figures.\n", e.Asked, e.ID)
	}
	fmt.Fprintf(w, "Decision %s, %s (%s)\n\n", e.ID, e.At, e.Kind)
	fmt.Fprintln(w, e.Summary)
	if e.Note != "" {
		fmt.Fprintln(w, e.Note)
	}
	if e.By != "" {
		fmt.Fprintf(w, "So since %s, by decision %s.\n", e.Since, e.By)
	}
	fmt.Fprintf(w, "\nRule      %s: %s\n", e.Rule, e.Meaning)
	fmt.Fprintf(w, "Because   %s\n", e.Reason)
	if e.Change != "" {
		fmt.Fprintf(w, "Until     %s\n", e.Change)
	}
	if e.Step != nil {
		e.Step.print(w)
	}
	if e.Leap != "" {
		fmt.Fprintf(w, "Leap      %s\n", e.Leap)
	}
	e.printWaits(w)
	for i, text := range e.Limits {
		fmt.Fprintf(w, "%-9s %s\n", map[bool]string{true: "Limits"}[i == 0], text)
	}
	e.printRejected(w)
	e.printFaults(w)
	if len(e.Events) > 0 {
		fmt.Fprint(w, "\nWhat this decision changed\n")
		for _, text := range e.Events {
			fmt.Fprintf(w, "  - %s\n", text)
		}
	}
}

func (s step) print(w io.Writer) {
	words := "it was carried out"
	if !s.Applied {
		words = "it was not carried out"
	}
	fmt.Fprintf(w, "Step      %+.9f s, %s; agreed on by %s\n", s.Amount.Seconds(), words, joined(s.Agreement, sources.None[sources.ID]()))
}

func (e explanation) printWaits(w io.Writer) {
	for i, t := range e.Timers {
		label := "Waiting"
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%-9s %v more, then %s\n", label, t.Left.Round(10*time.Millisecond), t.Then)
	}
}

func (e explanation) printRejected(w io.Writer) {
	if len(e.Rejected) == 0 {
		return
	}
	fmt.Fprint(w, "\nNot followed\n")
	for _, r := range e.Rejected {
		figures := ""
		if r.Offset.Present() {
			figures = fmt.Sprintf(", %s +-%s", span(r.Offset), strings.TrimPrefix(span(r.Bound), "+"))
		}
		fmt.Fprintf(w, "  %s is %s%s\n      %s\n", r.Source, r.State, figures, r.Reason)
	}
}

func (e explanation) printFaults(w io.Writer) {
	if len(e.Faults) == 0 {
		return
	}
	fmt.Fprint(w, "\nFaults\n")
	for _, f := range e.Faults {
		fmt.Fprintf(w, "  %s\n      evidence: %s\n      what to do: %s\n", f.title(), f.Evidence, f.Advice)
	}
}
