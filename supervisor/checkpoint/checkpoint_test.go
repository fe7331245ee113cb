package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/clock/servo"
	"clockarbiter/clock/timescale"
	"clockarbiter/integration/frugal"
	"clockarbiter/recording"
	"clockarbiter/sources"
	"clockarbiter/supervisor/sealed"
	"clockarbiter/supervisor/trust"
)

const (
	anchor = time.Duration(1_790_000_000_000_000_000)
	at     = timescale.Instant(anchor) + timescale.Instant(time.Hour)
)

// machines are a roster and an arbiter that follow one source.
func machines() (*arbiter.Arbiter, *roster.Roster) {
	a, r := arbiter.New(arbiter.DefaultConfig()), roster.New([]roster.Planned{{ID: "ptp:eth0:0", Kind: sources.PTP}})
	for i := range 10 {
		now := at.Add(time.Duration(i-9) * time.Second)
		r.Take(now, sources.Update{
			Samples: []sources.Sample{{Source: "ptp:eth0:0", At: now, Offset: time.Millisecond, Dispersion: time.Microsecond}},
			Reports: []sources.Report{{Source: "ptp:eth0:0", At: now, Condition: sources.Measuring}},
		})
		a.Step(r.Input(now, time.Millisecond))
	}
	return a, r
}

func left(t testing.TB) Checkpoint {
	t.Helper()
	shape, err := recording.Shape()
	if err != nil {
		t.Fatal(err)
	}
	a, r := machines()
	return Checkpoint{
		Boot: "boot", Program: recording.Program{Version: "1"}, Shape: shape, Driver: "kernel", Anchor: anchor, At: at,
		System: time.Millisecond, Servo: servo.Memory{At: at, Base: time.Millisecond, RatePPB: sources.Some(10.0)},
		State: recording.NewKeyframe(a, r, 0),
	}
}

// later is the present some time after the checkpoint.
func later(d time.Duration) Present {
	raw := time.Duration(at) - anchor + d
	return Present{Boot: "boot", Program: recording.Program{Version: "1"}, Driver: "kernel", Raw: raw, Realtime: raw + anchor + time.Millisecond}
}

func TestWhatSaysNothingOfThePresentIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*Checkpoint, *Present)
		want  string
	}{
		{"a good one", func(*Checkpoint, *Present) {}, ""},
		{"of another boot", func(c *Checkpoint, p *Present) { p.Boot = "other" }, "booted since"},
		{"of a boot that is not known", func(c *Checkpoint, p *Present) { c.Boot, p.Boot = "", "" }, "booted since"},
		{"of another version", func(c *Checkpoint, p *Present) { p.Program.Version = "2" }, "this is clockarbiter 2"},
		{"of another layout", func(c *Checkpoint, p *Present) { c.Shape = "x" }, "it was left by"},
		{"of another driver", func(c *Checkpoint, p *Present) { p.Driver = "observe" }, "its driver was kernel"},
		{"virtual without its clock", func(c *Checkpoint, p *Present) { c.Driver, p.Driver = "virtual", "virtual" }, "its driver was virtual"},
		{"virtual with its clock", func(c *Checkpoint, p *Present) {
			c.Driver, p.Driver, c.Virtual = "virtual", "virtual", &clock.VirtualState{}
			p.Realtime += time.Hour
		}, ""},
		{"too old", func(c *Checkpoint, p *Present) { *p = later(MaxAge + time.Second) }, "old, limit"},
		{"old enough", func(c *Checkpoint, p *Present) { *p = later(MaxAge) }, ""},
		{"of the future", func(c *Checkpoint, p *Present) { *p = later(-time.Second) }, "old, limit"},
		{"the clock was stepped", func(c *Checkpoint, p *Present) { p.Realtime += 5 * time.Millisecond }, "the clock was moved by 5ms"},
		{"the clock was slewed", func(c *Checkpoint, p *Present) { p.Realtime += 1500 * time.Microsecond }, ""},
		{"the clock ran on in a slew", func(c *Checkpoint, p *Present) { *p = later(time.Minute); p.Realtime -= 24 * time.Millisecond }, ""},
		{"taken up too often", func(c *Checkpoint, p *Present) { c.Taken = MaxTaken }, "taken up 5 times"},
		{"a negative count", func(c *Checkpoint, p *Present) { c.Taken = -1 }, "taken up -1 times"},
		{"no state", func(c *Checkpoint, p *Present) { c.State = nil }, "no state"},
		{"a damaged state", func(c *Checkpoint, p *Present) { c.State.Roster[0]++ }, "damaged"},
		{"an arbiter that followed nothing", func(c *Checkpoint, p *Present) {
			_, r := machines()
			c.State = recording.NewKeyframe(arbiter.New(arbiter.DefaultConfig()), r, 0)
		}, "not a measurement"},
		{"a servo that lost its mind", func(c *Checkpoint, p *Present) { c.Servo.BiasPPB = math.NaN() }, "not a measurement"},
		{"a servo surer than sure", func(c *Checkpoint, p *Present) { c.Servo.BiasVariance = -1 }, "not a measurement"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, p := left(t), later(time.Second)
			tc.spoil(&c, &p)
			a, r, err := c.Restore(p)
			if tc.want == "" {
				if err != nil || a == nil || len(r.Sources()) != 1 {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestACheckpointSurvivesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	c := left(t)
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := sealed.Replace(path, data, false); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if age := got.Age(later(3 * time.Second)); age != 3*time.Second {
		t.Errorf("age %v", age)
	}
	a, r, err := got.Restore(later(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	was, _ := machines()
	now := at.Add(time.Second)
	if recording.DigestOf(was.Step(r.Input(now, time.Millisecond))) != recording.DigestOf(a.Step(r.Input(now, time.Millisecond))) {
		t.Error("the restored machines decide otherwise")
	}
	if err := os.Chmod(path, 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, trust.ErrWritable) {
		t.Errorf("a file that others can write: %v", err)
	}
	c.Servo.Phase = math.Inf(1)
	if _, err := c.Encode(); err == nil {
		t.Error("an infinite phase is encoded")
	}
}

// FuzzRestore takes up whatever a file with a right checksum says.
func FuzzRestore(f *testing.F) {
	c := left(f)
	body, err := json.Marshal(&c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"state":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		frugal.Parse(t, len(body), func() {
			if _, err := Decode(body); err == nil {
				return
			}
			data, err := form.Seal(json.RawMessage(body))
			if err != nil {
				return
			}
			c, err := Decode(data)
			if err != nil {
				return
			}
			if a, r, err := c.Restore(later(time.Second)); err == nil {
				a.Resume(r.Input(at, 0))
				a.Step(r.Input(at.Add(time.Second), 0))
			}
		})
	})
}
