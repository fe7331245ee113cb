package configs

import "strings"

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

// contradiction reports a problem of key with another key, at the line of key, or of the other one
// when key has its default.
func (r *report) contradiction(key, other, value, problem string) {
	e := Error{File: r.file, Line: r.lines.of(key), Key: key, Value: value, Problem: problem}
	if !r.lines.has(key) {
		e.Line, e.Value = r.lines.of(other), value+" (default)"
	}
	r.errs = append(r.errs, e)
}

// broken reports whether one of the keys, or anything in it or around it, has an error already. Its
// value is then a default that the file does not ask for, and further checks would only confuse.
func (r *report) broken(keys ...string) bool {
	for _, e := range r.errs {
		for _, key := range keys {
			if within(e.Key, key) || within(key, e.Key) {
				return true
			}
		}
	}
	return false
}

// within reports whether key is table, or a member or element of it.
func within(key, table string) bool {
	rest, ok := strings.CutPrefix(key, table)
	return ok && table != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
