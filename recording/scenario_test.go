package recording

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

const start timescale.Instant = 1_790_000_000_000_000_000

// scenario is a host in simulated time: random sources with random faults, a clock that follows the
// decisions, and whatever happens is shown to a sink in the order of the control loop.
type scenario struct {
	rng     *rand.Rand
	at      timescale.Instant
	plan    []roster.Planned
	cfg     arbiter.Config
	roster  *roster.Roster
	arbiter *arbiter.Arbiter
	system  time.Duration
	moods   map[sources.ID]*mood
	sink    func(Entry)
	// before is called before every tick.
	before func()
	ticks  int
}

// mood is how a source behaves at present.
type mood struct {
	lie            time.Duration
	silent, frozen bool
	master         string
	last           timescale.Instant
}

func testPlan() []roster.Planned {
	return []roster.Planned{
		{ID: "ntp:192.0.2.1", Kind: sources.NTP},
		{ID: "ntp:192.0.2.2", Kind: sources.NTP},
		{ID: "ntp:192.0.2.3", Kind: sources.NTP},
		{ID: "ntp:pool.example.net", Kind: sources.NTP, Pool: true},
		{ID: "ptp:eth0:0", Kind: sources.PTP, Options: arbiter.Options{Prefer: true}},
		{ID: "ptp:eth1:24", Kind: sources.PTP},
	}
}

func newScenario(seed uint64, sink func(Entry)) *scenario {
	s := &scenario{
		rng: rand.New(rand.NewPCG(seed, 7)), at: start, plan: testPlan(), cfg: arbiter.DefaultConfig(),
		system: -5 * time.Millisecond, moods: map[sources.ID]*mood{}, sink: sink, before: func() {},
	}
	s.roster, s.arbiter = roster.New(s.plan), arbiter.New(s.cfg)
	var left []arbiter.Bias // what an earlier run left is part of the first state
	for _, id := range s.ids() {
		left = append(left, arbiter.Bias{ID: id, Offset: 50 * time.Microsecond, SD: 1000, Learnt: start})
	}
	s.arbiter.Inherit(left)
	return s
}

func (s *scenario) mood(id sources.ID) *mood {
	if s.moods[id] == nil {
		s.moods[id] = &mood{master: "001122.fffe.334455"}
	}
	return s.moods[id]
}

// run makes n ticks of 250 ms.
func (s *scenario) run(n int) {
	for i := range n {
		if i%4 == 0 {
			s.measure()
		}
		s.tick()
		s.at = s.at.Add(250 * time.Millisecond)
	}
}

func (s *scenario) ids() []sources.ID {
	return []sources.ID{"ntp:192.0.2.1", "ntp:192.0.2.2", "ntp:192.0.2.3", "ntp:pool.example.net/198.51.100.7", "ntp:stranger", "ptp:eth0:0", "ptp:eth1:24"}
}

func (s *scenario) measure() {
	var u sources.Update
	for _, id := range s.ids() {
		m := s.mood(id)
		s.disturb(m)
		if m.silent {
			u.Reports = append(u.Reports, sources.Report{Source: id, At: s.at, Condition: sources.Unreachable, Detail: "silent \xff\x00<&>"})
			continue
		}
		u.Reports = append(u.Reports, sources.Report{
			Source: id, At: s.at, Condition: sources.Measuring,
			Quality: sources.Quality{Reference: m.master, UTCOffset: sources.Some(37 * time.Second)},
		})
		if !m.frozen {
			m.last = s.at
		}
		u.Samples = append(u.Samples, s.sample(id, m))
	}
	s.sink(Entry{Update: &Update{Now: s.at, Samples: u.Samples, Reports: u.Reports}})
	s.roster.Take(s.at, u)
}

func (s *scenario) sample(id sources.ID, m *mood) sources.Sample {
	jitter, delay := 30e3, 200*time.Microsecond
	if id[0] == 'p' {
		jitter, delay = 200, 20*time.Microsecond
	}
	queue := time.Duration(s.rng.ExpFloat64() * jitter)
	return sources.Sample{
		Source: id, At: m.last, Delay: sources.Some(delay + queue), Dispersion: 100,
		Offset:  s.truth() + m.lie + queue/2 + time.Duration(s.rng.NormFloat64()*jitter/4),
		Quality: sources.Quality{Stratum: sources.Some[uint8](2), Reference: m.master, RootDelay: sources.Some(time.Millisecond)},
	}
}

func (s *scenario) truth() time.Duration {
	return 3*time.Millisecond + time.Duration(float64(s.at.Sub(start))*10e-6)
}

// disturb changes a mood now and then.
func (s *scenario) disturb(m *mood) {
	switch s.rng.IntN(120) {
	case 0:
		m.silent = !m.silent
	case 1:
		m.frozen = !m.frozen
	case 2:
		m.lie = time.Duration(s.rng.NormFloat64() * 1e6)
	case 3:
		m.lie = 37 * time.Second
	case 4, 5, 6:
		m.lie, m.silent, m.frozen = 0, false, false
	case 7:
		m.master = fmt.Sprintf("GM\xff%d", s.rng.IntN(3))
	}
}

// reload puts other thresholds and another plan into force.
func (s *scenario) reload() {
	s.cfg.Hysteresis = 1 + s.rng.Float64()*3
	s.cfg.Settle = 1 + s.rng.IntN(8)
	s.plan = testPlan()
	s.plan[s.rng.IntN(len(s.plan))].Options.NoSelect = true
	s.sink(Entry{Order: &Order{Plan: s.plan, Thresholds: s.cfg}})
	s.roster.Replan(s.plan)
	s.arbiter.Configure(s.cfg)
}

// consult changes the leap second table: one that contradicts the sources, then one that has expired.
func (s *scenario) consult() {
	table := arbiter.LeapTable{Path: "/table", Expires: start.Add(time.Duration(s.ticks%300-100) * 24 * time.Hour), Seconds: []arbiter.LeapSecond{
		{At: start.Add(-48 * time.Hour), TAI: 36 * time.Second},
	}}
	s.sink(Entry{Table: &Table{Leaps: table}})
	s.arbiter.Consult(table)
}

func (s *scenario) tick() {
	s.before()
	if s.rng.IntN(400) == 0 {
		s.reload()
	}
	if s.ticks++; s.ticks%150 == 0 {
		s.consult()
	}
	in := s.roster.Input(s.at, s.system)
	in.Temperature = sources.Some(arbiter.Temperature{Celsius: 40 + math.Sin(float64(s.ticks)/1000), Age: time.Duration(s.ticks % 7)})
	d := s.arbiter.Step(in)
	s.sink(Entry{Tick: &Tick{Input: in, Decision: &d, Applied: true}})
	s.system += d.Step.Or(0)
	if target, ok := d.Target.Get(); ok {
		s.system += max(min(target.Offset-s.system, 100*time.Microsecond), -100*time.Microsecond)
	}
}

func testHeader() Header {
	shape, err := Shape()
	if err != nil {
		panic(err)
	}
	return Header{
		Format: Format, Version: "1.0", Shape: shape, Boot: "test", Started: start, Sequence: 1,
		Thresholds: arbiter.DefaultConfig(), Plan: testPlan(),
	}
}

// record returns the file of a scenario of n ticks.
func record(t *testing.T, seed uint64, n int) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, testHeader())
	if err != nil {
		t.Fatal(err)
	}
	s := newScenario(seed, func(e Entry) {
		if err := w.Write(e); err != nil {
			t.Error(err)
		}
	})
	if err := w.Write(Entry{Keyframe: NewKeyframe(s.arbiter, s.roster, 0)}); err != nil {
		t.Fatal(err)
	}
	s.run(n)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func open(t *testing.T, file []byte) *Reader {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
