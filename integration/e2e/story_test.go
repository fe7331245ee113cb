package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/story"
)

// The demo's story, told faster.
func TestTheStoryEndsWithEveryFigureWithinItsLimit(t *testing.T) {
	ctx, s := begin(t, story.Options{Tempo: story.Tempo{Locked: 10 * time.Second, Aftermath: 2 * time.Second}})
	figures, err := s.Play(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, f := range figures {
		t.Log(f)
		if f.Missed() {
			t.Errorf("missed: %v", f)
		}
	}
	if err := s.End(); err != nil {
		t.Error(err)
	}
	checkJournal(t, s.Journal().Entries())
}

// checkJournal expects each turn of the story once, in order, each a complete entry.
func checkJournal(t *testing.T, entries []story.Entry) {
	t.Helper()
	turns := []struct {
		what string
		is   func(story.Entry) bool
	}{
		{"a step", event("step-ordered")},
		{"an NTP source is selected", selection("", "ntp:")},
		{"PTP is selected", selection("ntp:", "ptp:")},
		{"NTP is selected", selection("ptp:", "ntp:")},
		{"PTP is selected again", selection("ntp:", "ptp:")},
		{"the liar is a falseticker", func(e story.Entry) bool {
			return event("source-state-changed")(e) && e.Fields["TO"] == "falseticker"
		}},
	}
	for _, e := range entries {
		if len(turns) > 0 && turns[0].is(e) {
			if missing := missingFields(e); len(missing) > 0 {
				t.Errorf("the entry that %s lacks %q: %v", turns[0].what, missing, e)
			}
			turns = turns[1:]
		} else if event("selection-changed")(e) && !selection("ntp:", "ntp:")(e) {
			// From one honest NTP server to another is no turn of the story: a busy machine does that.
			t.Errorf("a selection that is not in the story: %v", e)
		}
	}
	for _, turn := range turns {
		t.Errorf("not in the journal: %s", turn.what)
	}
}

func event(name string) func(story.Entry) bool {
	return func(e story.Entry) bool { return e.Fields["EVENT"] == name }
}

// selection is a change of the selected source between two kinds.
func selection(from, to string) func(story.Entry) bool {
	return func(e story.Entry) bool {
		return event("selection-changed")(e) && strings.HasPrefix(e.Fields["FROM"], from) &&
			(from != "" || e.Fields["FROM"] == "") && strings.HasPrefix(e.Fields["TO"], to)
	}
}

// missingFields are those that every turn of the story must have and e has not.
func missingFields(e story.Entry) []string {
	required := []string{"MESSAGE_ID", "DECISION_ID", "EVENT", "REASON", "SOURCE", "OFFSET_NS", "BOUND_NS"}
	return slices.DeleteFunc(required, func(name string) bool { return e.Fields[name] != "" })
}

// An engine that cannot work is a source with a state and a reason, and the others go on.
func TestABrokenEngineDoesNotStopTheOthers(t *testing.T) {
	for _, test := range []struct {
		what, old, replacement string
	}{
		{"the interface does not exist", `name = "gm"`, `name = "nosuch0"`},
		{"the program does not exist", "ptp4l = ", `ptp4l = "/nonexistent/ptp4l" # `},
		{"the program crashes at once", "ptp4l = ", `ptp4l = "/bin/false" # `},
		{"the program prints garbage without end", "ptp4l = ", `ptp4l = "/usr/bin/yes" # `},
	} {
		t.Run(test.what, func(t *testing.T) {
			_, s := begin(t, story.Options{Edit: func(text string) string {
				edited := strings.Replace(text, test.old, test.replacement, 1)
				if edited == text {
					t.Fatalf("%q is not in the configuration:\n%s", test.old, text)
				}
				return edited
			}})
			waitFor(t, 15*time.Second, func() string { return brokenPTP(s) })
			if err := s.End(); err != nil {
				t.Error(err)
			}
		})
	}
}

// brokenPTP is what is missing from: NTP is followed, and PTP is unreachable for a reason.
func brokenPTP(s *story.Story) string {
	status := s.Status()
	if !strings.HasPrefix(status.Selected.String(), "ntp:") {
		return fmt.Sprintf("NTP is not selected: %v", status.Selected)
	}
	for _, source := range status.Sources {
		if strings.HasPrefix(string(source.ID), "ptp:") {
			if source.State == "unreachable" && source.Reason != "" {
				return ""
			}
			return fmt.Sprintf("%s is %s: %q", source.ID, source.State, source.Reason)
		}
	}
	return "there is no PTP source"
}
