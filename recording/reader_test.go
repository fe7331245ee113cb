package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"clockarbiter/integration/frugal"
)

// entries reads all of a file; nothing in it may be wrong.
func entries(t *testing.T, r *Reader) []Entry {
	t.Helper()
	var list []Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
}

// rewrite returns the lines of a file, uncompressed, each changed by edit.
func rewrite(t *testing.T, file []byte, edit func(*Entry)) []byte {
	t.Helper()
	r := open(t, file)
	h := r.Header()
	var out bytes.Buffer
	for _, e := range append([]Entry{{Header: &h}}, entries(t, r)...) {
		edit(&e)
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(line, '\n'))
	}
	return out.Bytes()
}

func TestACutFileIsGoodUpToTheCut(t *testing.T) {
	whole := record(t, 5, 300)
	all := entries(t, open(t, whole))
	before := 0
	for _, part := range []int{4, 3, 2} {
		cut := whole[:len(whole)-len(whole)/part]
		r := open(t, cut)
		got := entries(t, r)
		if r.Cut() == nil || len(got) >= len(all) {
			t.Errorf("%d of %d bytes: %d of %d entries, cut %v", len(cut), len(whole), len(got), len(all), r.Cut())
		}
		if before > 0 && len(got) > before {
			t.Errorf("a shorter file has more entries: %d, then %d", before, len(got))
		}
		before = len(got)
		v, err := Replay(open(t, cut))
		if err != nil || v.Difference != nil || v.Complete || v.Ticks == 0 {
			t.Errorf("replay of %d bytes: %+v, %v", len(cut), v, err)
		}
	}
}

func TestWhatACrashLeavesBehindTheEndIsNoPartOfTheFile(t *testing.T) {
	whole := record(t, 5, 20)
	cut := append(bytes.Clone(whole[:len(whole)-30]), make([]byte, 4096)...)
	r := open(t, cut)
	if got := entries(t, r); len(got) == 0 || r.Cut() == nil {
		t.Errorf("%d entries, cut %v", len(got), r.Cut())
	}
	r = open(t, append(bytes.Clone(whole), make([]byte, 4096)...))
	if entries(t, r); r.Cut() != nil {
		t.Errorf("a whole file before rubbish is cut: %v", r.Cut())
	}
}

func TestWhatIsNoRecordingIsRefused(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"nothing", "", "empty"},
		{"half a header", `{"header":{"format":1`, "cut off within its header"},
		{"a text", "hello\n", "line 1"},
		{"another format", `{"header":{"format":2,"version":"9.1","thresholds":{},"plan":null,"shape":"","boot":"","started":0,"sequence":1}}` + "\n", "format 2, written by clockarbiter 9.1"},
		{"no header", `{"end":{"ticks":1}}` + "\n", "does not begin with a header"},
		{"two in one line", `{"header":{"format":1},"end":{"ticks":1}}` + "\n", "2 entries in one"},
		{"a broken archive", "\x1f\x8bnonsense", "gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewReader(strings.NewReader(c.file))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	small := []byte(`{"header":{"format":1,"boot":"b"}}` + "\n" + `{"update":{"now":1,"samples":[{"Source":"x","Delay":null}]}}` + "\n" + `{"tick":{"number":1,"input":{"Now":1},"digest":""}}` + "\n")
	f.Add(small)
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, file []byte) {
		frugal.Parse(t, len(file), func() {
			r, err := NewReader(bytes.NewReader(file))
			if err != nil {
				return
			}
			for range 10_000 {
				if _, err := r.Next(); err != nil {
					break
				}
			}
		})
		if r, err := NewReader(bytes.NewReader(file)); err == nil {
			_, _ = Replay(r) // whatever it says, it must say it
		}
	})
}

func FuzzState(f *testing.F) {
	s := newScenario(1, func(Entry) {})
	s.run(40)
	f.Add(encodeState(s.roster))
	f.Add(encodeState(s.arbiter))
	f.Fuzz(func(t *testing.T, b []byte) {
		frugal.Parse(t, len(b), func() {
			if r, err := decodeState[scenarioState](b); err == nil && !bytes.Equal(encodeState(r), encodeState(r)) {
				t.Error("one state, two encodings")
			}
		})
	})
}

// scenarioState has every kind of field that a state may have.
type scenarioState struct {
	A []int64
	B *struct{ x float64 }
	C map[string]uint8
	D [3]bool
	e string
	F []struct{ n int8 }
}

func TestStateKeepsNilAndEmptyApart(t *testing.T) {
	for _, s := range []scenarioState{
		{},
		{A: []int64{}, C: map[string]uint8{}},
		{A: []int64{-1, 1 << 62}, B: &struct{ x float64 }{math.Copysign(0, -1)}, C: map[string]uint8{"b": 2, "a": 1}, D: [3]bool{true}, e: "x", F: []struct{ n int8 }{{-128}}},
	} {
		back, err := decodeState[scenarioState](encodeState(&s))
		if err != nil {
			t.Fatal(err)
		}
		if (back.A == nil) != (s.A == nil) || (back.C == nil) != (s.C == nil) || !bytes.Equal(encodeState(back), encodeState(&s)) {
			t.Errorf("%+v came back as %+v", s, *back)
		}
	}
}
