package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"clockarbiter/integration/sim"
	"clockarbiter/sources"
)

// Scenario is a simulated situation with what must come of it.
type Scenario struct {
	sim.Scenario
	Expectations []Expectation `toml:"expect"`
}

// Expectation is what must happen, or must not, from From to To. Each field is checked when it is set.
type Expectation struct {
	From sim.Duration `toml:"from"`
	To   sim.Duration `toml:"to"`
	// Fault must be raised, for Source where one is given.
	Fault  string     `toml:"fault"`
	Source sources.ID `toml:"source"`
	// NoFault: no fault at all is raised.
	NoFault bool `toml:"no_fault"`
	// Cleared is a fault that must end.
	Cleared string `toml:"cleared"`
	// Reason must be part of what some event says.
	Reason string `toml:"reason"`
	// Selects is a source that must become the selected one, Leaves one that must be left.
	Selects sources.ID `toml:"selects"`
	// Switches limits the changes of the selection, -1 allows none; Steps is their exact number, -1
	// for none.
	Switches int `toml:"switches"`
	Steps    int `toml:"steps"`
	// MaxError limits the true error of the system clock at every instant, FinalError that at the end.
	MaxError   sim.Duration `toml:"max_error"`
	FinalError sim.Duration `toml:"final_error"`
}

// Parse reads a scenario; an unknown key is an error.
func Parse(data []byte) (Scenario, error) {
	var s Scenario
	meta, err := toml.NewDecoder(bytes.NewReader(data)).Decode(&s)
	if err != nil {
		return Scenario{}, fmt.Errorf("parse scenario: %w", err)
	}
	var errs []error
	for _, key := range meta.Undecoded() {
		errs = append(errs, fmt.Errorf("unknown key %q", key.String()))
	}
	for i, e := range s.Expectations {
		if e.To <= e.From || e.To > s.Duration {
			errs = append(errs, fmt.Errorf("expectation %d: want from < to <= duration", i+1))
		}
	}
	return s, errors.Join(errs...)
}

// Run plays the scenario and lists what did not come as expected.
func (s Scenario) Run() (sim.Result, []string, error) {
	r, err := sim.Run(s.Scenario)
	if err != nil {
		return r, nil, err
	}
	broken := r.Broken
	for _, e := range s.Expectations {
		for _, why := range e.violations(r) {
			broken = append(broken, fmt.Sprintf("%v to %v: %s", time.Duration(e.From), time.Duration(e.To), why))
		}
	}
	return r, broken, nil
}

func (e Expectation) violations(r sim.Result) []string {
	var out []string
	complain := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if e.Fault != "" && !e.happened(r, "fault-raised", e.Source, "-> "+e.Fault+":") {
		complain("fault %s of %q was not named", e.Fault, e.Source)
	}
	if e.Cleared != "" && !e.happened(r, "fault-cleared", e.Source, e.Cleared+" ->") {
		complain("fault %s of %q did not end", e.Cleared, e.Source)
	}
	if e.NoFault {
		for _, ev := range e.during(r, "fault-raised") {
			complain("fault at %v of %q: %s", time.Duration(ev.At), ev.Source, ev.Text)
		}
	}
	if e.Reason != "" && !e.happened(r, "", "", e.Reason) {
		complain("no event says %q", e.Reason)
	}
	if e.Selects != "" && !e.happened(r, "selection-changed", e.Selects, "") {
		complain("%s was not selected", e.Selects)
	}
	if n := len(e.during(r, "selection-changed")); e.Switches != 0 && n > max(0, e.Switches) {
		complain("%d changes of the selection, at most %d are allowed", n, max(0, e.Switches))
	}
	if n := len(e.during(r, "step-ordered")); e.Steps != 0 && n != max(0, e.Steps) {
		complain("%d steps, want %d", n, max(0, e.Steps))
	}
	return append(out, e.errorLimits(r)...)
}

func (e Expectation) errorLimits(r sim.Result) []string {
	var out []string
	window := r.Error.Window(sim.Elapsed(e.From), sim.Elapsed(e.To))
	if limit := float64(e.MaxError); limit > 0 && window.Max() > limit {
		out = append(out, fmt.Sprintf("error of %.1f us, limit %v", window.Max()/1000, time.Duration(e.MaxError)))
	}
	if limit, n := float64(e.FinalError), len(window.Values); limit > 0 && (n == 0 || math.Abs(window.Values[n-1]) > limit) {
		out = append(out, fmt.Sprintf("error of %.1f us at the end, limit %v", window.Values[n-1]/1000, time.Duration(e.FinalError)))
	}
	return out
}

// during returns the events of a kind, of any where it is empty.
func (e Expectation) during(r sim.Result, kind string) []sim.Event {
	var out []sim.Event
	for _, ev := range r.Events {
		if at := ev.At; at >= sim.Elapsed(e.From) && at < sim.Elapsed(e.To) && (kind == "" || ev.Kind == kind) {
			out = append(out, ev)
		}
	}
	return out
}

func (e Expectation) happened(r sim.Result, kind string, id sources.ID, text string) bool {
	for _, ev := range e.during(r, kind) {
		if (id == "" || ev.Source == id) && strings.Contains(ev.Text, text) {
			return true
		}
	}
	return false
}
