// Package sealed keeps files that one run of the supervisor leaves to the next: whole or absent, with a
// version and a checksum in the first line, and believed only when nobody else could have written them. It
// knows nothing of what is in them.
package sealed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"clockarbiter/supervisor/trust"
)

// Form is a kind of file.
type Form struct {
	// Magic begins the first line.
	Magic string
	// Version is what is written; those from Oldest on are read, 0: that one alone.
	Version, Oldest int
	// MaxBytes bounds a file.
	MaxBytes int
}

// header is the first line: what it is, its version, the checksum of what follows.
func (f Form) header(version int, body []byte) []byte {
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "%s %d %s\n", f.Magic, version, hex.EncodeToString(sum[:]))
}

// Stamp puts a right first line of a version before any body.
func (f Form) Stamp(version int, body []byte) []byte { return append(f.header(version, body), body...) }

// reads says which versions are read.
func (f Form) reads(version int) bool {
	return version == f.Version || f.Oldest > 0 && version >= f.Oldest && version < f.Version
}

// Seal returns the contents of a file that holds v as JSON. The error is that of its encoding, or its size.
func (f Form) Seal(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	data := f.Stamp(f.Version, body)
	if len(data) > f.MaxBytes {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), f.MaxBytes)
	}
	return data, nil
}

// Open fills v from the contents of a file and returns their version. The error says what is wrong with them;
// v is undefined then.
func (f Form) Open(data []byte, v any) (version int, err error) {
	if len(data) > f.MaxBytes {
		return 0, fmt.Errorf("larger than %d bytes", f.MaxBytes)
	}
	first, body, _ := bytes.Cut(data, []byte("\n"))
	words := bytes.Fields(first)
	if len(words) != 3 || string(words[0]) != f.Magic {
		return 0, fmt.Errorf("not a %s file", f.Magic)
	}
	version, err = strconv.Atoi(string(words[1]))
	if err != nil || !f.reads(version) {
		return 0, fmt.Errorf("version %.20q, this program reads %d to %d", words[1], max(f.Oldest, 1), f.Version)
	}
	if want := f.header(version, body); !bytes.Equal(append(bytes.Clone(first), '\n'), want) {
		return 0, errors.New("checksum does not match: it was changed or cut")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return 0, fmt.Errorf("contents: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return 0, errors.New("contents: more than one value")
	}
	return version, nil
}

// Read returns the contents of the file at path, of at most a byte more than a file may have. The error
// wraps fs.ErrNotExist when there is none, trust.ErrWritable when others could have written it.
func (f Form) Read(path string) ([]byte, error) {
	if err := trust.File(path); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, int64(f.MaxBytes)+1))
}

// Replace replaces the file at path, whole or not at all whatever happens meanwhile. lasting makes it
// outlive a loss of power, for which the disk is waited.
func Replace(path string, data []byte, lasting bool) error {
	beside := path + ".new"
	if err := write(beside, data, lasting); err != nil {
		return errors.Join(err, remove(beside))
	}
	if err := os.Rename(beside, path); err != nil {
		return errors.Join(err, remove(beside))
	}
	if !lasting {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

// remove removes what a failed write left, such as half a file on a full disk.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func write(path string, data []byte, lasting bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if lasting {
		if err := f.Sync(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// syncDir makes the rename outlive a loss of power.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
