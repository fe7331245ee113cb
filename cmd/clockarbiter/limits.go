package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

// printLimits says how each limit stands, in one line, and nothing without limits.
func printLimits(w io.Writer, list []supervisor.LimitStatus) {
	var words []string
	for _, l := range list {
		words = append(words, limitWords(l.LimitNS, l.Violated, l.LeftNS))
	}
	if len(words) > 0 {
		fmt.Fprintf(w, "limits    %s\n", strings.Join(words, "   "))
	}
}

// limitWords says whether a limit is violated, or for how long it would hold without any source.
func limitWords(limit time.Duration, violated bool, left sources.Optional[time.Duration]) string {
	d, ok := left.Get()
	switch {
	case violated:
		return fmt.Sprintf("%v VIOLATED", limit)
	case !ok:
		return fmt.Sprintf("%v for ever without sources", limit)
	case d < time.Minute:
		return fmt.Sprintf("%v for %v without sources", limit, d.Round(100*time.Millisecond))
	case d < 48*time.Hour:
		return fmt.Sprintf("%v for %v without sources", limit, d.Round(time.Second))
	default:
		return fmt.Sprintf("%v for %d days without sources", limit, int(d.Hours()/24))
	}
}

// limitsOf is the same of a decision, for why.
func limitsOf(list []arbiter.LimitState) []string {
	words := []string{}
	for _, l := range list {
		words = append(words, limitWords(l.Limit, l.Violated, l.Left))
	}
	return words
}
