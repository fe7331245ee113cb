package recording

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine is far above any entry: a keyframe of 64 sources has some 200 kB.
const maxLine = 32 << 20

// Reader reads the entries of one file, compressed or not.
type Reader struct {
	lines  *bufio.Reader
	header Header
	number int
	ended  bool
	cut    error
	// ticksOnly leaves out updates and keyframes, which are most of a file.
	ticksOnly bool
}

// NewReader reads the header. A file of another format is refused.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReader(r)
	if magic, err := in.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		gz, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("read recording: %w", err)
		}
		gz.Multistream(false) // blocks that a crash left behind the end are no part of it
		in = bufio.NewReader(gz)
	}
	out := &Reader{lines: in}
	e, err := out.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("read recording: it is empty, or cut off within its header")
	case err != nil:
		return nil, fmt.Errorf("read recording: %w", err)
	case e.Header == nil:
		return nil, errors.New("read recording: it does not begin with a header")
	case e.Header.Format != Format:
		return nil, fmt.Errorf("read recording: it has format %d, written by clockarbiter %s, and this program reads format %d", e.Header.Format, e.Header.Version, Format)
	}
	out.header = *e.Header
	return out, nil
}

// Header is the file's.
func (r *Reader) Header() Header { return r.header }

// Cut says why the file ends before its end: nil where it was closed in order. It is known once Next
// has returned io.EOF.
func (r *Reader) Cut() error { return r.cut }

// Next returns the next entry, io.EOF at the end of the file or where it was cut off, another error for
// a line that is no entry.
func (r *Reader) Next() (Entry, error) {
	line, err := r.wanted()
	if err != nil {
		return Entry{}, err
	}
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		// What a crash left behind the end of an archive may decompress to rubbish, until its sum fails.
		if _, broken := io.Copy(io.Discard, r.lines); broken != nil {
			r.cut = fmt.Errorf("cut off before line %d: %w", r.number, whole(broken))
			return Entry{}, io.EOF
		}
		return Entry{}, fmt.Errorf("line %d: %w", r.number, err)
	}
	if n := e.members(); n != 1 {
		return Entry{}, fmt.Errorf("line %d: %d entries in one", r.number, n)
	}
	r.ended = e.End != nil
	return e, nil
}

// wanted reads the next line that is not left out.
func (r *Reader) wanted() ([]byte, error) {
	for {
		if r.ended || r.cut != nil {
			return nil, io.EOF
		}
		line, err := r.line()
		if err != nil {
			// What ends within a line, within a compressed block or in rubbish was cut off here.
			r.cut = fmt.Errorf("cut off after line %d: %w", r.number, whole(err))
			return nil, io.EOF
		}
		r.number++
		if !r.ticksOnly || !bytes.HasPrefix(line, []byte(`{"update":`)) && !bytes.HasPrefix(line, []byte(`{"keyframe":`)) {
			return line, nil
		}
	}
}

// whole turns the end of the file into the words for an end that came too early.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line reads up to a newline, and not without it.
func (r *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxLine:
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		}
	}
}
