package supervisor

import (
	"fmt"
	"strings"
)

// String says what a new plan did to the children.
func (c changes) String() string {
	var parts []string
	for _, p := range []struct {
		did   string
		names []string
	}{{"started", c.Started}, {"replaced", c.Replaced}, {"stopped", c.Stopped}} {
		if len(p.names) > 0 {
			parts = append(parts, p.did+" "+strings.Join(p.names, ", "))
		}
	}
	if len(parts) == 0 {
		return "no engine is touched"
	}
	return strings.Join(parts, "; ")
}

// reloaded journals a configuration that is in force from now on.
func (r recorder) reloaded(did changes) {
	r.write(Entry{
		Message: "Configuration reloaded: " + did.String(), Priority: PriorityNotice, ID: MessageReloaded,
		Fields: map[string]string{"EVENT": "reloaded", "REASON": did.String()},
	})
}

func (r recorder) reloadRefused(err error) {
	r.write(Entry{
		Message: "Configuration not reloaded: " + err.Error(), Priority: PriorityError, ID: MessageReloadRefused,
		Fields: map[string]string{"EVENT": "reload-refused", "REASON": err.Error()},
	})
}

// replanned journals that the host has changed, with what the engines concerned can and cannot do now.
func (r recorder) replanned(did changes, before, now Plan, link string) {
	why := "what the host has and can do has changed"
	if link != "" {
		why = "network interface " + link + " has changed"
	}
	for _, name := range append(did.Started, did.Replaced...) {
		was, is := before.problemOf(name), now.problemOf(name)
		switch {
		case is != "" && is != was:
			why += fmt.Sprintf("; %s cannot run: %s", name, is)
		case is == "" && was != "":
			why += fmt.Sprintf("; %s can run now", name)
		}
	}
	r.write(Entry{
		Message: "Engines planned anew, " + why + ": " + did.String(), Priority: PriorityNotice, ID: MessageReplanned,
		Fields: map[string]string{"EVENT": "replanned", "REASON": why},
	})
}

func (p Plan) problemOf(child string) string {
	for _, c := range p.Children {
		if c.Name == child {
			return c.Problem
		}
	}
	return ""
}
