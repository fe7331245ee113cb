package process

import (
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLine is the longest line of output in bytes; what is longer is broken into several.
	maxLine = 1024
	// tailLines is how many last lines of a child are kept.
	tailLines = 20
	// logBurst lines are logged at once and logRate lines per second in the long run: a child that
	// shouts shall fill neither the journal nor the supervisor's time.
	logBurst = 200
	logRate  = 20.0
	// readRate is how many bytes per second of a child's output are read: beyond that its pipe is full, and
	// it waits. chronyd and ptp4l write a few lines per minute.
	readRate = 512 << 10
)

// lineSplitter breaks a stream into lines of at most maxLine bytes and hands each on, printable and
// without its end. Empty lines are left out. How the stream is cut into writes makes no difference.
type lineSplitter struct {
	pending []byte
	emit    func(line string)
}

// Write takes the next bytes of the stream; it never fails.
func (s *lineSplitter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' {
			s.flush(len(s.pending))
			continue
		}
		if len(s.pending) == maxLine {
			s.flush(wholeRunes(s.pending))
		}
		s.pending = append(s.pending, b)
	}
	return len(p), nil
}

// Close hands on the last line, which may have had no end; it never fails.
func (s *lineSplitter) Close() error {
	s.flush(len(s.pending))
	return nil
}

// flush hands on the first n pending bytes and keeps the others.
func (s *lineSplitter) flush(n int) {
	if line := printable(strings.TrimSuffix(string(s.pending[:n]), "\r")); line != "" {
		s.emit(line)
	}
	s.pending = append(s.pending[:0], s.pending[n:]...)
}

// wholeRunes returns the length of the longest start of b that does not cut a UTF-8 sequence in two;
// len(b) where b does not end in the beginning of one.
func wholeRunes(b []byte) int {
	for back := 1; back < utf8.UTFMax && back < len(b); back++ {
		if tail := b[len(b)-back:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return len(b) - back
			}
			break
		}
	}
	return len(b)
}

// printable returns s with everything that a terminal or a journal might act on written as a Go
// escape: bytes that are not UTF-8, control characters, marks that reorder text.
func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\t' || r != utf8.RuneError && unicode.IsPrint(r):
			b.WriteString(s[:n])
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[0])|0x100, 16)[1:])
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		s = s[n:]
	}
	return b.String()
}

// output receives the lines of one run of a child: it keeps the last ones and logs as many as the
// rate allows. It is safe for concurrent use.
type output struct {
	log *slog.Logger

	mu         sync.Mutex
	tail       []string
	tokens     float64
	refilled   time.Time
	suppressed int
}

// newOutput returns an output that logs to log, which carries the name of the child.
func newOutput(log *slog.Logger) *output {
	return &output{log: log, tokens: logBurst, refilled: time.Now()}
}

// line takes one printable line that process pid wrote.
func (o *output) line(pid int, line string) {
	allowed, suppressed := o.admit(time.Now(), line)
	if !allowed {
		return
	}
	if suppressed > 0 {
		o.log.Warn("child output suppressed", "pid", pid, "lines", suppressed)
	}
	o.log.Info("child output", "pid", pid, "line", line)
}

// admit keeps the line and reports whether the rate allows to log it, and how many were withheld
// since the last that was logged.
func (o *output) admit(now time.Time, line string) (allowed bool, suppressed int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == tailLines {
		o.tail = append(o.tail[:0], o.tail[1:]...)
	}
	o.tail = append(o.tail, line)
	o.tokens = min(logBurst, o.tokens+now.Sub(o.refilled).Seconds()*logRate)
	o.refilled = now
	if o.tokens < 1 {
		o.suppressed++
		return false, 0
	}
	o.tokens--
	suppressed, o.suppressed = o.suppressed, 0
	return true, suppressed
}

// end logs what was withheld last, after process pid has ended.
func (o *output) end(pid int) {
	o.mu.Lock()
	suppressed := o.suppressed
	o.suppressed = 0
	o.mu.Unlock()
	if suppressed > 0 {
		o.log.Warn("child output suppressed", "pid", pid, "lines", suppressed)
	}
}

// lines returns a copy of the last lines, oldest first.
func (o *output) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.tail...)
}

// copyLines reads r to its end, or to its first error, which is that of a pipe that was closed, and
// hands on its lines.
func copyLines(r io.Reader, emit func(line string)) {
	s := &lineSplitter{emit: emit}
	_, _ = io.Copy(s, slowly{r}) // the end of a pipe, however it comes, is all that there is to know
	_ = s.Close()                // never fails
}

// slowly reads at readRate.
type slowly struct{ io.Reader }

// Read rests for as long as what it has read deserves.
func (s slowly) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	time.Sleep(time.Duration(n) * time.Second / readRate)
	return n, err
}
