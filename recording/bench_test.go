package recording

import (
	"fmt"
	"io"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/sources"
)

// BenchmarkSecond is what one second of recording costs the writing goroutine: four ticks and a sample and
// a report of each source, with the bytes that it leaves on the disk.
func BenchmarkSecond(b *testing.B) {
	for _, n := range []int{5, 64} {
		b.Run(fmt.Sprintf("%d sources", n), func(b *testing.B) {
			w, err := NewWriter(io.Discard, testHeader())
			if err != nil {
				b.Fatal(err)
			}
			entries := second(n, 60)
			b.ResetTimer()
			for i := range b.N {
				for _, e := range entries[i%len(entries)] {
					if err := w.Write(e); err != nil {
						b.Fatal(err)
					}
				}
				if i%5 == 4 {
					if err := w.Flush(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(w.Size())/float64(b.N), "bytes/s")
		})
	}
}

// BenchmarkKeyframe is what the control loop waits for once in a file.
func BenchmarkKeyframe(b *testing.B) {
	for _, n := range []int{5, 64} {
		b.Run(fmt.Sprintf("%d sources", n), func(b *testing.B) {
			s := busy(n, func(Entry) {})
			for range 60 {
				s()
			}
			b.ResetTimer()
			for range b.N {
				NewKeyframe(busyArbiter, busyRoster, 0)
			}
			b.ReportMetric(float64(len(NewKeyframe(busyArbiter, busyRoster, 0).Roster)), "bytes")
		})
	}
}

var (
	busyArbiter *arbiter.Arbiter
	busyRoster  *roster.Roster
)

// busy returns what one second of n sound sources does.
func busy(n int, sink func(Entry)) func() {
	s := newScenario(1, sink)
	s.plan = nil
	for i := range n {
		s.plan = append(s.plan, roster.Planned{ID: sources.ID(fmt.Sprintf("ntp:192.0.2.%03d", i)), Kind: sources.NTP})
	}
	s.roster = roster.New(s.plan)
	busyArbiter, busyRoster = s.arbiter, s.roster
	return func() {
		var u sources.Update
		for _, p := range s.plan {
			m := s.mood(p.ID)
			m.last = s.at
			u.Samples = append(u.Samples, s.sample(p.ID, m))
			u.Reports = append(u.Reports, sources.Report{Source: p.ID, At: s.at, Condition: sources.Measuring, Quality: u.Samples[0].Quality})
		}
		s.sink(Entry{Update: &Update{Now: s.at, Samples: u.Samples, Reports: u.Reports}})
		s.roster.Take(s.at, u)
		for range 4 {
			in := s.roster.Input(s.at, s.system)
			d := s.arbiter.Step(in)
			s.sink(Entry{Tick: &Tick{Input: in, Decision: &d, Applied: true}})
			s.system += d.Step.Or(0)
			s.at = s.at.Add(250 * time.Millisecond)
		}
	}
}

// second returns the entries of some seconds in steady state.
func second(n, seconds int) [][]Entry {
	var out [][]Entry
	var now []Entry
	play := busy(n, func(e Entry) { now = append(now, e) })
	for range 30 {
		play()
	}
	for range seconds {
		now = nil
		play()
		out = append(out, now)
	}
	return out
}
