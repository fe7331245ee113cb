package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/integration/frugal"
	"clockarbiter/supervisor/trust"
)

var saved = State{Saved: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Boot: "boot", FreqPPB: -12_345.5, SDPPB: 80}

func encoded(t testing.TB, s State) []byte {
	t.Helper()
	data, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// stamped gives any contents a right first line.
func stamped(body string) []byte { return form.Stamp(Version, []byte(body)) }

func TestNonsenseIsRefusedAndSaysWhy(t *testing.T) {
	good := encoded(t, saved)
	changed := bytes.Replace(good, []byte("-12345"), []byte("-12346"), 1)
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not a clockarbiter-state file"},
		{"another file", []byte("[clock]\n"), "not a clockarbiter-state file"},
		{"a newer version", bytes.Replace(good, []byte(" 2 "), []byte(" 3 "), 1), `version "3"`},
		{"no version", bytes.Replace(good, []byte(" 2 "), []byte(" x "), 1), `version "x"`},
		{"a changed figure", changed, "checksum"},
		{"cut", good[:len(good)-5], "checksum"},
		{"more at the end", append(bytes.Clone(good), 'x'), "checksum"},
		{"too large", make([]byte, MaxBytes+1), "larger"},
		{"no contents", stamped(""), "contents"},
		{"unknown field", stamped(`{"saved":"2026-11-22T12:00:00Z","freq":1}`), "unknown field"},
		{"two values", stamped(string(good[bytes.IndexByte(good, '\n')+1:]) + "{}"), "more than one"},
		{"wrong type", stamped(`{"freq_ppb":"1"}`), "contents"},
		{"beyond any crystal", stamped(`{"saved":"2026-11-22T12:00:00Z","freq_ppb":6e5,"sd_ppb":1}`), "frequency"},
		{"certain", stamped(`{"saved":"2026-11-22T12:00:00Z","freq_ppb":1,"sd_ppb":0}`), "standard deviation"},
		{"of 1970", stamped(`{"saved":"1970-11-22T12:00:00Z","freq_ppb":1,"sd_ppb":1}`), "1970"},
		{"an endless boot", stamped(`{"saved":"2026-11-22T12:00:00Z","freq_ppb":1,"sd_ppb":1,"boot":"` + strings.Repeat("x", 65) + `"}`), "boot"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if s, err := Decode(tc.data); err == nil || !strings.Contains(err.Error(), tc.want) || !cmp.Equal(s, State{}) && tc.want == "contents" {
				t.Errorf("Decode = %+v, %v; want an error with %q", s, err, tc.want)
			}
		})
	}
	for _, s := range []State{{}, {Saved: saved.Saved, FreqPPB: math.NaN(), SDPPB: 1}, {Saved: saved.Saved, SDPPB: math.Inf(1)}} {
		if _, err := Encode(s); err == nil {
			t.Errorf("Encode(%+v) is not refused", s)
		}
	}
}

// withBiases is a state with n biases of names as long as they come.
func withBiases(n int) State {
	s := saved
	for i := range n {
		id := fmt.Sprintf("%s%03d", strings.Repeat("<", maxID-3), i)
		s.Biases = append(s.Biases, Bias{ID: id, Reference: strings.Repeat("&", maxReference), Offset: -maxBias, SD: maxBias, Learnt: saved.Saved})
	}
	return s
}

func TestBiasesAreKept(t *testing.T) {
	for _, n := range []int{0, 1, MaxBiases} {
		s := withBiases(n)
		got, err := Decode(encoded(t, s))
		if diff := cmp.Diff(s, got); err != nil || diff != "" {
			t.Errorf("%d biases: %v\n%s", n, err, diff)
		}
	}
}

func TestABiasThatNoneCanBeIsRefused(t *testing.T) {
	for want, spoil := range map[string]func(*Bias){
		"source":             func(b *Bias) { b.ID = "" },
		"source \"x\\n\"":    func(b *Bias) { b.ID = "x\n" },
		"reference":          func(b *Bias) { b.Reference = strings.Repeat("x", maxReference+1) },
		"beyond":             func(b *Bias) { b.Offset = maxBias + 1 },
		"standard deviation": func(b *Bias) { b.SD = 0 },
		"year 1":             func(b *Bias) { b.Learnt = time.Time{} },
	} {
		s := withBiases(1)
		spoil(&s.Biases[0])
		if _, err := Encode(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	twice, many := withBiases(1), withBiases(MaxBiases+1)
	twice.Biases = append(twice.Biases, twice.Biases[0])
	for want, s := range map[string]State{"a second one": twice, "65 biases": many} {
		if _, err := Encode(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestACrystalIsKeptAndOneThatNoneCanBeIsRefused(t *testing.T) {
	s := saved
	s.Crystal = &Crystal{PPBPerKelvin: -300, PPBPerKelvinSD: 5, AgeingPPBPerDay: 3, AgeingPPBPerDaySD: 1, Coldest: 20, Warmest: 41, Unexplained: 0.02, Learnt: saved.Saved}
	got, err := Decode(encoded(t, s))
	if diff := cmp.Diff(s, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for want, spoil := range map[string]func(*Crystal){
		"per kelvin": func(c *Crystal) { c.PPBPerKelvin = math.Inf(1) },
		"per day":    func(c *Crystal) { c.AgeingPPBPerDaySD = -1 },
		"degrees":    func(c *Crystal) { c.Warmest = 19 },
		"share":      func(c *Crystal) { c.Unexplained = math.NaN() },
		"year 1":     func(c *Crystal) { c.Learnt = time.Time{} },
	} {
		bad, spoilt := s, *s.Crystal
		spoil(&spoilt)
		bad.Crystal = &spoilt
		if _, err := Encode(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestTheEarlierVersionIsReadAndHasNoBiases(t *testing.T) {
	const body = `{"saved":"2026-11-22T12:00:00Z","boot":"boot","freq_ppb":-12345.5,"sd_ppb":80}` + "\n"
	got, err := Decode(form.Stamp(1, []byte(body)))
	if diff := cmp.Diff(saved, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	with := encoded(t, withBiases(1))
	with = with[bytes.IndexByte(with, '\n')+1:]
	if _, err := Decode(form.Stamp(1, with)); err == nil {
		t.Error("version 1 with biases is read")
	}
}

func TestUncertaintyGrowsWithAgeAndBoot(t *testing.T) {
	for _, tc := range []struct {
		name     string
		age      time.Duration
		boot     string
		least    float64
		most     float64
		wantNone bool
	}{
		{name: "at once", boot: "boot", least: 80, most: 81},
		{name: "a minute later", age: time.Minute, boot: "boot", least: 180, most: 220},
		{name: "a day later", age: 24 * time.Hour, boot: "boot", least: 6_000, most: 8_000},
		{name: "after a reboot", age: time.Minute, boot: "other", least: 20_000, most: 20_100},
		{name: "in a boot that is not known", boot: "", least: 20_000, most: 20_100},
		{name: "before the clock is set", age: -time.Hour, boot: "boot", least: 1_000, most: 2_000},
		{name: "half a year later", age: 180 * 24 * time.Hour, boot: "boot", wantNone: true},
		{name: "far in the future", age: -180 * 24 * time.Hour, boot: "boot", wantNone: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			freq, sd, ok := saved.Rate(saved.Saved.Add(tc.age), tc.boot)
			if ok == tc.wantNone || ok && (freq != saved.FreqPPB || sd < tc.least || sd > tc.most) {
				t.Errorf("Rate = %g, %g, %v; want a deviation of %g to %g", freq, sd, ok, tc.least, tc.most)
			}
		})
	}
}

func TestAFileIsWholeOrNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "state")
	path := filepath.Join(dir, FileName)
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first start: %v", err)
	}
	for range 2 {
		if err := Save(path, saved); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(saved, got); diff != "" {
		t.Error(diff)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left in the directory: %v", left)
	}
	if err := Save(path, State{}); err == nil {
		t.Error("nonsense was saved")
	}
	if got, err := Load(path); err != nil || !cmp.Equal(got, saved) {
		t.Errorf("after a failed save: %+v, %v", got, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, trust.ErrWritable) {
		t.Errorf("a file that anybody can write: %v", err)
	}
	if err := Save("/dev/full/state", saved); err == nil {
		t.Error("a directory that cannot be made is no error")
	}
	if err := os.Mkdir(path+".new", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, saved); err == nil {
		t.Error("a file that cannot be written is no error")
	}
}

func TestBootIsTheSameTwice(t *testing.T) {
	if b := Boot(); b == "" || b != Boot() {
		t.Errorf("boot %q", b)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, saved))
	f.Add(stamped("{}"))
	f.Add(encoded(f, withBiases(MaxBiases)))
	f.Add(stamped(`{"freq_ppb":1e999}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		frugal.Parse(t, len(data), func() {
			for _, d := range [][]byte{data, stamped(string(data))} {
				s, err := Decode(d)
				if err != nil {
					continue
				}
				if freq, sd, ok := s.Rate(saved.Saved, "boot"); ok && !(math.Abs(freq) <= MaxFreqPPB && sd > 0) {
					t.Errorf("%q gives a rate of %g +- %g", d, freq, sd)
				}
				again, err := Decode(encoded(t, s))
				if err != nil || !again.Saved.Equal(s.Saved) || again.FreqPPB != s.FreqPPB || len(again.Biases) != len(s.Biases) {
					t.Errorf("%q does not survive being saved: %+v, %v", d, again, err)
				}
			}
		})
	})
}
