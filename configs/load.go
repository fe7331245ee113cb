package configs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/BurntSushi/toml"
)

// maxFileSize is far above any configuration; what is larger is not one.
const maxFileSize = 1 << 20

// Load reads the file at path as Parse does. A file that cannot be read is an error that wraps the
// operating system's; everything else is as from Parse.
func Load(path string) (*Config, error) {
	c, _, err := LoadWithWarnings(path)
	return c, err
}

// LoadWithWarnings is Load and, for a valid file, its Warnings with file and line.
func LoadWithWarnings(path string) (*Config, []Error, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, data)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing to lose
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFileSize)
	}
	return data, nil
}

// Parse reads a configuration; name stands for the file in errors. The error is Errors, with
// everything that is wrong: one error where the syntax is broken, else all unknown keys, wrong
// types, values out of range and contradictions.
func Parse(name string, data []byte) (*Config, error) {
	c, _, err := parse(name, data)
	return c, err
}

func parse(name string, data []byte) (*Config, []Error, error) {
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		return nil, nil, Errors{syntaxError(name, err)}
	}
	r := &report{file: name, lines: indexLines(string(data))}
	c := decode(tree, r)
	validate(c, r)
	if len(r.errs) > 0 {
		return nil, nil, r.errs.inOrder()
	}
	warnings := Warnings(c)
	for i := range warnings {
		warnings[i].File, warnings[i].Line = name, r.lines.of(warnings[i].Key)
	}
	return c, Errors(warnings).inOrder(), nil
}

func syntaxError(name string, err error) Error {
	e := Error{File: name, Problem: printable(err.Error())}
	if parse, ok := errors.AsType[toml.ParseError](err); ok {
		e.Line, e.Problem = parse.Position.Line, printable(parse.Message)
	}
	return e
}

// printable escapes what would break an error's line or a terminal: the TOML library repeats the
// file's bytes as they are.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}
