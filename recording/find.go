package recording

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
)

// Found is a decision as it was recorded.
type Found struct {
	ID       string           `json:"id"`
	Kind     string           `json:"kind"`
	File     string           `json:"file"`
	Applied  bool             `json:"applied"`
	Input    arbiter.Input    `json:"input"`
	Decision arbiter.Decision `json:"decision"`
	// Until is the last instant at which the recording shows it in force.
	Until timescale.Instant `json:"until"`

	last uint64 // the last number that repeats it
}

// ErrNotFound marks a decision that no recording has in full.
var ErrNotFound = errors.New("no such decision in the recordings")

// SplitID returns run and number of a decision's identifier.
func SplitID(id string) (boot string, number uint64, err error) {
	boot, digits, ok := strings.Cut(id, "-")
	if number, err = strconv.ParseUint(digits, 10, 64); !ok || boot == "" || err != nil {
		return "", 0, fmt.Errorf("%q is no identifier of a decision: they look like mu2k0c5s-1234, see DECISION_ID in the journal", id)
	}
	return boot, number, nil
}

// FindID looks for a decision by its identifier, newest file first. Where only the digest of the decision
// was written, because it repeats an earlier one, that earlier one is found.
func FindID(files []string, id string) (Found, error) {
	boot, number, err := SplitID(id)
	if err != nil {
		return Found{}, err
	}
	found, err := find(files, func(h Header, t Tick) bool { return h.Boot != boot || t.Number > number })
	if err == nil && found.last < number {
		return Found{}, fmt.Errorf("%w: the run %s is recorded up to %s-%d", ErrNotFound, boot, boot, found.last)
	}
	return found, err
}

// FindTime looks for the decision that was in force at an instant.
func FindTime(files []string, at time.Time) (Found, error) {
	want := timescale.Instant(at.UnixNano())
	return find(files, func(_ Header, t Tick) bool { return t.Input.Now > want })
}

// find returns the last decision in full before the tick that is too late: after what is looked for, or
// of another run.
func find(files []string, late func(Header, Tick) bool) (Found, error) {
	for i := len(files) - 1; i >= 0; i-- {
		found, ok, err := findIn(files[i], late)
		if err != nil {
			return Found{}, fmt.Errorf("%s: %w", files[i], err)
		}
		if ok {
			return found, nil
		}
	}
	return Found{}, ErrNotFound
}

func findIn(path string, late func(Header, Tick) bool) (Found, bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Found{}, false, nil // rotated away meanwhile
	}
	if err != nil {
		return Found{}, false, err
	}
	defer file.Close()
	r, err := NewReader(file)
	if err != nil {
		return Found{}, false, nil //nolint:nilerr // a file that is cut off within its header holds no decision
	}
	r.ticksOnly = true
	return scan(r, path, late)
}

// scan reads on until the first tick that is too late.
func scan(r *Reader, path string, late func(Header, Tick) bool) (found Found, ok bool, err error) {
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found, ok, nil
		}
		if err != nil {
			return found, ok, err
		}
		if e.Tick == nil {
			continue
		}
		if late(r.Header(), *e.Tick) {
			return found, ok, nil
		}
		if d := e.Tick.Decision; d != nil {
			found = Found{
				ID: r.Header().ID(e.Tick.Number), Kind: e.Tick.Kind, File: path, Applied: e.Tick.Applied,
				Input: e.Tick.Input, Decision: *d,
			}
			ok = true
		}
		found.Until, found.last = e.Tick.Input.Now, e.Tick.Number
	}
}
