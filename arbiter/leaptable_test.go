package arbiter

import (
	"fmt"
	"testing"
	"time"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// tableOf is a table with one leap second at the end of June 2026, or none after 2017 for LeapNone.
func tableOf(l sources.Leap) LeapTable {
	at := func(y int, m time.Month) timescale.Instant {
		return timescale.Instant(time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	}
	t := LeapTable{Path: "/table", Expires: at(2027, 6), Seconds: []LeapSecond{{at(1972, 1), 10 * time.Second}, {at(2017, 1), 37 * time.Second}}}
	if l != sources.LeapNone {
		tai := map[sources.Leap]time.Duration{sources.LeapInsert: 38 * time.Second, sources.LeapDelete: 36 * time.Second}[l]
		t.Seconds = append(t.Seconds, LeapSecond{at(2026, 7), tai})
	}
	return t
}

const (
	none   = sources.LeapNone
	insert = sources.LeapInsert
	del    = sources.LeapDelete
)

func TestTheTableIsOneVoteOnTheLeapSecondAndBreaksATie(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		rule     string
		now      timescale.Instant
		says     []sources.Leap // -1 is nothing
		table    LeapTable
		want     sources.Leap
		disagree bool
	}{
		{"the table alone", noon, nil, tableOf(insert), insert, false},
		{"a second less", noon, nil, tableOf(del), del, false},
		{"the day before", noon.Add(-day), nil, tableOf(insert), none, false},
		{"one source that has yet to announce it", noon.Add(-time.Hour), []sources.Leap{none}, tableOf(insert), insert, false},
		{"one source that should announce it", noon.Add(time.Hour), []sources.Leap{none}, tableOf(insert), insert, true},
		{"one source that lies", noon, []sources.Leap{insert}, tableOf(none), none, true},
		{"weeks before it is a lie too", noon.Add(-20 * day), []sources.Leap{insert}, tableOf(none), none, true},
		{"two sources outvote the table", noon, []sources.Leap{insert, insert}, tableOf(none), insert, true},
		{"two sources outvote it the other way", noon.Add(time.Hour), []sources.Leap{none, none}, tableOf(insert), none, true},
		{"with the table against one of two", noon, []sources.Leap{insert, none}, tableOf(insert), insert, true},
		{"an expired table has no vote", timescale.Instant(time.Date(2027, 6, 30, 13, 0, 0, 0, time.UTC).UnixNano()), []sources.Leap{none}, tableOf(insert), none, false},
		{"a refused table has no vote", noon, []sources.Leap{none}, LeapTable{Path: "/table", Problem: "cut"}, none, false},
		{"all agree", noon, []sources.Leap{insert, insert}, tableOf(insert), insert, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			ids := []sources.ID{"ntp:a", "ntp:b"}[:max(1, len(tt.says))]
			s := newStage(DefaultConfig(), tt.now, ids...)
			for i, l := range tt.says {
				s.quality(i, func(q *sources.Quality) { q.Leap = sources.Some(l) })
			}
			s.arb.Consult(tt.table)
			s.next(6)
			if s.d.Leap != tt.want || s.names(FaultLeap, "") != tt.disagree {
				t.Errorf("leap %v, want %v; disagreement named %v, want %v", s.d.Leap, tt.want, !tt.disagree, tt.disagree)
			}
		})
	}
}

func TestTheTableIsOneVoteOnTAIAndBreaksATie(t *testing.T) {
	for _, tt := range []struct {
		says  []time.Duration
		table LeapTable
		want  sources.Optional[time.Duration]
	}{
		{nil, tableOf(none), sources.Some(37 * time.Second)},
		{[]time.Duration{36}, tableOf(none), sources.Some(37 * time.Second)},
		{[]time.Duration{37}, tableOf(none), sources.Some(37 * time.Second)},
		{[]time.Duration{36, 36}, tableOf(none), sources.Some(36 * time.Second)},
		{[]time.Duration{36, 37}, tableOf(none), sources.Some(37 * time.Second)},
		{[]time.Duration{35, 36}, tableOf(none), sources.None[time.Duration]()},
		{[]time.Duration{36, 37}, LeapTable{}, sources.None[time.Duration]()},
	} {
		t.Run(fmt.Sprint(tt.says, tt.table.Path), func(t *testing.T) {
			ids := []sources.ID{"ptp:a", "ptp:b"}[:max(1, len(tt.says))]
			s := newStage(DefaultConfig(), noon, ids...)
			for i, offset := range tt.says {
				s.quality(i, func(q *sources.Quality) { q.UTCOffset = sources.Some(offset * time.Second) })
			}
			s.arb.Consult(tt.table)
			s.next(6)
			if s.d.TAI != tt.want {
				t.Errorf("TAI - UTC %v, want %v", s.d.TAI, tt.want)
			}
			for i, offset := range tt.says {
				if lies := tt.table.Path != "" && offset != 37; s.names(FaultLeap, ids[i]) != lies {
					t.Errorf("%s, which says %d, is named: %v", ids[i], offset, !lies)
				}
			}
		})
	}
}

func TestATableIsNamedFromSixtyDaysBeforeItsEnd(t *testing.T) {
	end := tableOf(none).Expires
	for _, tt := range []struct {
		left  time.Duration
		table func(*LeapTable)
		named bool
	}{
		{61 * 24 * time.Hour, func(*LeapTable) {}, false},
		{59 * 24 * time.Hour, func(*LeapTable) {}, true},
		{-time.Hour, func(*LeapTable) {}, true},
		{61 * 24 * time.Hour, func(t *LeapTable) { t.Problem = "cut" }, true},
		{59 * 24 * time.Hour, func(t *LeapTable) { *t = LeapTable{Problem: "there is none"} }, false},
	} {
		table := tableOf(none)
		tt.table(&table)
		s := newStage(DefaultConfig(), end.Add(-tt.left), "ntp:a")
		s.arb.Consult(table)
		s.next(1)
		if got := s.names(FaultTable, ""); got != tt.named {
			t.Errorf("%v before the end of %+v: named %v, want %v", tt.left, table, got, tt.named)
		}
	}
}

func TestInHoldoverTheTableIsAskedWhereTheSourcesWereNot(t *testing.T) {
	s := newStage(DefaultConfig(), noon.Add(-12*time.Hour-10*time.Second), "ntp:a")
	s.arb.Consult(tableOf(insert))
	s.next(6)
	s.in.Candidates[0].Report = sources.Some(sources.Report{Source: "ntp:a", Condition: sources.Unreachable})
	for range 20 {
		s.in.Now = s.in.Now.Add(time.Second)
		s.d = s.arb.Step(s.in)
	}
	if s.d.Mode != Holdover || s.d.Leap != insert {
		t.Errorf("%v with leap %v, want holdover and the table's leap second", s.d.Mode, s.d.Leap)
	}
}

func TestNothingIsCorrectedWhileTheKernelLeaps(t *testing.T) {
	midnight := noon.Add(12 * time.Hour)
	for _, late := range []time.Duration{0, 500 * time.Microsecond, -500 * time.Microsecond} {
		t.Run(fmt.Sprint("the clock is late by ", late), func(t *testing.T) {
			s := newStage(DefaultConfig(), midnight.Add(-20*time.Second), "ntp:a", "ntp:b")
			s.in.System = -late
			s.arb.Consult(tableOf(insert))
			leapt := false
			for s.in.Now < midnight.Add(8*time.Second) {
				if leapt {
					for i := range s.in.Candidates {
						s.estimate(i, func(e *sources.Estimate) { e.Offset, e.Track = -time.Second, 2 })
					}
				}
				// By its own clock the kernel leaps at midnight, and the sources' next samples show it.
				if clock := s.in.Now.Add(s.in.System + time.Second); !leapt && clock >= midnight {
					leapt = true
					s.in.System -= time.Second
				}
				s.next(1)
				clock := s.in.Now.Add(s.in.System)
				near := magnitude(clock.Sub(midnight)) <= leapHold
				if s.d.Hold != near {
					t.Errorf("%v from midnight: held %v", clock.Sub(midnight), s.d.Hold)
				}
				if armed := clock <= midnight.Add(leapHold) && s.d.Number > 3; (s.d.Leap == insert) != armed {
					t.Errorf("%v from midnight: leap %v, armed %v", clock.Sub(midnight), s.d.Leap, armed)
				}
				if near && (s.d.TAI.Present() || s.d.Step.Present()) {
					t.Errorf("%v from midnight: TAI %v, step %v", clock.Sub(midnight), s.d.TAI, s.d.Step)
				}
			}
			if !s.d.TAI.Is(38*time.Second) || len(s.d.Faults) > 0 || s.d.Mode != Locked {
				t.Errorf("after it: %v, TAI - UTC %v, faults %v", s.d.Mode, s.d.TAI, s.d.Faults)
			}
		})
	}
}
