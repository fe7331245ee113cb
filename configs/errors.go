package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong, or doubtful, in a configuration.
type Error struct {
	// File is the name that was given to Load or Parse. Empty: not known.
	File string
	// Line counts from 1. 0: the key does not stand in the file.
	Line int
	// Key is the full key with the index of each array element: "ntp.server[0].minpoll".
	Key string
	// Value is the value as TOML would write it. Empty: there is none.
	Value string
	// Problem says what is wrong. Empty: Value is not allowed.
	Problem string
	// Allowed says what may stand there, with the unit. Empty: Problem says it all.
	Allowed string
}

// Error writes "file:line: key = value: problem; allowed this to that".
func (e Error) Error() string {
	var parts []string
	switch {
	case e.File != "" && e.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d", e.File, e.Line))
	case e.File != "":
		parts = append(parts, e.File)
	case e.Line > 0:
		parts = append(parts, fmt.Sprintf("line %d", e.Line))
	}
	switch {
	case e.Key != "" && e.Value != "":
		parts = append(parts, e.Key+" = "+e.Value)
	case e.Key != "":
		parts = append(parts, e.Key)
	}
	var why []string
	if e.Problem != "" {
		why = append(why, e.Problem)
	}
	if e.Allowed != "" {
		why = append(why, "allowed "+e.Allowed)
	}
	return strings.Join(append(parts, strings.Join(why, "; ")), ": ")
}

// Errors is everything that is wrong in a file, in the order of its lines. It is never empty.
type Errors []Error

// Error writes one line per error.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As and errors.Is each single Error.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

// inOrder sorts by line; what stands in no line comes first, because it is about the whole file.
func (es Errors) inOrder() Errors {
	slices.SortStableFunc(es, func(a, b Error) int { return cmp.Compare(a.Line, b.Line) })
	return es
}
