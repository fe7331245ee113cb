package sim

import (
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock/timescale"
)

// date is UTC at the start of a scenario.
func (s Scenario) date() (time.Time, error) {
	if s.Date == "" {
		return Epoch.Near(), nil
	}
	return time.Parse(time.RFC3339, s.Date)
}

// calendar is UTC less what it would be from Epoch on without a leap second.
func (w *world) calendar() time.Duration {
	date, err := w.scenario.date()
	if err != nil {
		return 0 // check has refused it
	}
	return date.Sub(Epoch.Near()) + w.leapt
}

// leapTables is by how much TAI - UTC changes at the end of the month.
var leapTables = map[string]time.Duration{"insert": time.Second, "delete": -time.Second, "none": 0}

// leapTable is the host's leap second table.
func (w *world) leapTable() arbiter.LeapTable {
	if w.scenario.LeapTable == "" {
		return arbiter.LeapTable{}
	}
	date, err := w.scenario.date()
	if err != nil {
		return arbiter.LeapTable{Path: "leap-seconds.list", Problem: err.Error()}
	}
	end := time.Date(date.Year(), date.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	at := func(t time.Time) timescale.Instant { return timescale.Instant(t.UnixNano()) }
	t := arbiter.LeapTable{Path: "leap-seconds.list", Expires: at(end.AddDate(0, 6, 0)), Seconds: []arbiter.LeapSecond{
		{At: at(time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)), TAI: 37 * time.Second},
	}}
	if by := leapTables[w.scenario.LeapTable]; by != 0 {
		t.Seconds = append(t.Seconds, arbiter.LeapSecond{At: at(end), TAI: 37*time.Second + by})
	}
	return t
}
