package configs

import (
	"strings"
)

// report collects what is wrong with one file.
type report struct {
	file  string
	lines lineIndex
	errs  Errors
}

// add reports a problem at a key; the line is that of the key or of the table around it.
func (r *report) add(key, value, problem, allowed string) {
	r.errs = append(r.errs, Error{
		File: r.file, Line: r.lines.of(key),
		Key: key, Value: value, Problem: problem, Allowed: allowed,
	})
}

// contradiction reports a problem between two keys, at the one that stands in the file; when both
// do, at the first.
func (r *report) contradiction(key, other, value, problem string) {
	if !r.lines.has(key) && r.lines.has(other) {
		e := Error{File: r.file, Line: r.lines.of(other), Key: key, Value: value, Problem: problem}
		r.errs = append(r.errs, e)
		return
	}
	r.add(key, value, problem, "")
}

// broken reports whether key, or anything in it, has an error already. Its value is then a default
// that the file does not ask for, and further checks of it would only confuse.
func (r *report) broken(keys ...string) bool {
	for _, e := range r.errs {
		for _, key := range keys {
			rest, ok := strings.CutPrefix(e.Key, key)
			if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				return true
			}
		}
	}
	return false
}
