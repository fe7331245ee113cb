package configs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// lineIndex holds the line of every key, table and array element of a TOML document, by its full
// key: "ntp", "ntp.server[1]", "ntp.server[1].minpoll". The TOML library keeps no positions of
// keys that decode well, and none at all within arrays of tables.
type lineIndex map[string]int

// indexLines reads a document that the TOML library has accepted; of another it gives a part.
func indexLines(doc string) lineIndex {
	s := &lineScanner{
		text:  strings.TrimPrefix(doc, "\ufeff"),
		line:  1,
		lines: lineIndex{},
		count: map[string]int{},
	}
	s.document()
	return s.lines
}

// of returns the line of key, or of the closest table around it, or 0.
func (ix lineIndex) of(key string) int {
	for key != "" {
		if line, ok := ix[key]; ok {
			return line
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

// has reports whether key itself stands in the document.
func (ix lineIndex) has(key string) bool {
	_, ok := ix[key]
	return ok
}

// element is the key of one element of an array.
func element(array string, i int) string { return fmt.Sprintf("%s[%d]", array, i) }

// member is the key of one member of a table; the root table is "".
func member(table, name string) string {
	if !isBareKey(name) {
		name = strconv.Quote(name)
	}
	if table == "" {
		return name
	}
	return table + "." + name
}

func isBareKey(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !isBareKeyRune(r) }) < 0
}

func isBareKeyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

// lineScanner walks the structure of a document: it knows where keys and values end, and nothing
// of what values mean.
type lineScanner struct {
	text  string
	pos   int
	line  int
	lines lineIndex
	count map[string]int // elements seen of each array of tables
}

func (s *lineScanner) document() {
	table := ""
	for s.skipBlank(); s.pos < len(s.text); s.skipBlank() {
		start := s.pos
		switch {
		case s.accept("[["):
			table = s.arrayHeader(s.keyParts())
			s.accept("]]")
		case s.accept("["):
			table = s.resolve(s.keyParts())
			s.note(table)
			s.accept("]")
		default:
			s.pair(table)
		}
		if s.pos == start {
			return // not TOML
		}
	}
}

// arrayHeader counts the element that [[parts]] begins and returns its key.
func (s *lineScanner) arrayHeader(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	last := len(parts) - 1
	array := member(s.resolve(parts[:last]), parts[last])
	s.note(array)
	key := element(array, s.count[array])
	s.count[array]++
	s.note(key)
	return key
}

// resolve turns a table header's parts into a key; a part that is an array of tables means its
// newest element.
func (s *lineScanner) resolve(parts []string) string {
	key := ""
	for _, part := range parts {
		key = member(key, part)
		s.note(key)
		if n := s.count[key]; n > 0 {
			key = element(key, n-1)
		}
	}
	return key
}

func (s *lineScanner) pair(table string) {
	key := table
	for _, part := range s.keyParts() {
		key = member(key, part)
		s.note(key)
	}
	s.skipSpace()
	if s.accept("=") {
		s.skipSpace()
		s.value(key)
	}
}

func (s *lineScanner) value(key string) {
	switch {
	case s.accept("["):
		s.array(key)
	case s.accept("{"):
		s.inlineTable(key)
	case s.peek() == '"' || s.peek() == '\'':
		s.quoted()
	default:
		for s.pos < len(s.text) && !strings.ContainsRune(",]}#\n", rune(s.text[s.pos])) {
			s.pos++
		}
	}
}

func (s *lineScanner) array(key string) {
	for i := 0; ; i++ {
		s.skipBlank()
		if s.pos >= len(s.text) || s.accept("]") {
			return
		}
		start := s.pos
		s.note(element(key, i))
		s.value(element(key, i))
		s.skipBlank()
		s.accept(",")
		if s.pos == start {
			return
		}
	}
}

func (s *lineScanner) inlineTable(key string) {
	for {
		s.skipBlank()
		if s.pos >= len(s.text) || s.accept("}") {
			return
		}
		start := s.pos
		s.pair(key)
		s.skipBlank()
		s.accept(",")
		if s.pos == start {
			return
		}
	}
}

// keyParts reads a dotted key.
func (s *lineScanner) keyParts() []string {
	var parts []string
	for {
		s.skipSpace()
		part, ok := s.keyPart()
		if !ok {
			return parts
		}
		parts = append(parts, part)
		s.skipSpace()
		if !s.accept(".") {
			return parts
		}
	}
}

func (s *lineScanner) keyPart() (string, bool) {
	if c := s.peek(); c == '"' || c == '\'' {
		raw := s.quoted()
		var v struct{ K string }
		if _, err := toml.Decode("K = "+raw, &v); err != nil {
			return "", false
		}
		return v.K, true
	}
	rest := s.text[s.pos:]
	end := strings.IndexFunc(rest, func(r rune) bool { return !isBareKeyRune(r) })
	if end < 0 {
		end = len(rest)
	}
	s.pos += end
	return rest[:end], end > 0
}

// quoted reads a string of any of the four kinds and returns it as it stands.
func (s *lineScanner) quoted() string {
	start, quote := s.pos, s.text[s.pos:s.pos+1]
	long := strings.Repeat(quote, 3)
	end := quote
	if strings.HasPrefix(s.text[s.pos:], long) {
		end = long
	}
	s.pos += len(end)
	for s.pos < len(s.text) && !strings.HasPrefix(s.text[s.pos:], end) {
		if s.text[s.pos] == '\\' && quote == `"` {
			s.step() // what is escaped ends nothing
		}
		s.step()
	}
	s.accept(end)
	// A long string may end in up to two quotes of its own: """"quoted""""".
	for i := 0; i < 2 && end == long; i++ {
		s.accept(quote)
	}
	return s.text[start:s.pos]
}

func (s *lineScanner) note(key string) {
	if _, seen := s.lines[key]; !seen && key != "" {
		s.lines[key] = s.line
	}
}

func (s *lineScanner) peek() byte {
	if s.pos >= len(s.text) {
		return 0
	}
	return s.text[s.pos]
}

func (s *lineScanner) step() {
	if s.pos >= len(s.text) {
		return
	}
	if s.text[s.pos] == '\n' {
		s.line++
	}
	s.pos++
}

func (s *lineScanner) accept(token string) bool {
	if !strings.HasPrefix(s.text[s.pos:], token) {
		return false
	}
	s.pos += len(token)
	return true
}

func (s *lineScanner) skipSpace() {
	for c := s.peek(); c == ' ' || c == '\t'; c = s.peek() {
		s.pos++
	}
}

// skipBlank skips white space, line ends and comments.
func (s *lineScanner) skipBlank() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.step()
		case '#':
			for s.pos < len(s.text) && s.text[s.pos] != '\n' {
				s.pos++
			}
		default:
			return
		}
	}
}
