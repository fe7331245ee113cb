package roster_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

const start timescale.Instant = 1_790_000_000_000_000_000

func plan() []roster.Planned {
	return []roster.Planned{
		{ID: "ntp:192.0.2.1", Kind: sources.NTP, Options: arbiter.Options{Prefer: true}},
		{ID: "ntp:pool.example.net", Kind: sources.NTP, Pool: true},
		{ID: "ptp:eth0:0", Kind: sources.PTP},
	}
}

func ids(r *roster.Roster) []sources.ID {
	list := []sources.ID{}
	for _, c := range r.Input(start, 0).Candidates {
		list = append(list, c.ID)
	}
	return list
}

func report(id sources.ID, at timescale.Instant) sources.Update {
	return sources.Update{Reports: []sources.Report{{Source: id, At: at, Condition: sources.Measuring}}}
}

func samples(id sources.ID, from timescale.Instant, n int) sources.Update {
	var u sources.Update
	for i := range n {
		u.Samples = append(u.Samples, sources.Sample{
			Source: id, At: from.Add(time.Duration(i) * time.Second), Offset: time.Millisecond,
			Delay: sources.Some(100 * time.Microsecond), Dispersion: time.Microsecond,
		})
	}
	return u
}

func TestEveryConfiguredSourceIsACandidateFromTheStart(t *testing.T) {
	if diff := cmp.Diff([]sources.ID{"ntp:192.0.2.1", "ptp:eth0:0"}, ids(roster.New(plan()))); diff != "" {
		t.Error(diff)
	}
}

func TestMembersOfAPoolComeAndGo(t *testing.T) {
	const member = "ntp:pool.example.net/198.51.100.7"
	r := roster.New(plan())
	r.Take(start, report(member, start))
	want := []sources.ID{"ntp:192.0.2.1", member, "ptp:eth0:0"}
	if diff := cmp.Diff(want, ids(r)); diff != "" {
		t.Fatalf("after its first report: %s", diff)
	}
	if in := r.Input(start.Add(30*time.Second), 0); len(in.Candidates) != 3 {
		t.Errorf("forgotten after 30 s: %d candidates", len(in.Candidates))
	}
	if in := r.Input(start.Add(31*time.Second), 0); len(in.Candidates) != 2 {
		t.Errorf("a member that nobody reports any more is still there: %d candidates", len(in.Candidates))
	}
}

func TestStrangersAreNamedAndIgnored(t *testing.T) {
	r := roster.New(plan())
	u := samples("ntp:stranger", start, 1)
	u.Reports = report("ntp:stranger", start).Reports
	judged := r.Take(start, u)
	if len(judged) != 1 || !judged[0].Stranger {
		t.Errorf("judged %+v, want one stranger", judged)
	}
	if got := ids(r); len(got) != 2 {
		t.Errorf("candidates %v", got)
	}
}

func TestOnlyWhatDidNotSimplyEnterIsReported(t *testing.T) {
	r := roster.New(plan())
	now := start.Add(time.Minute)
	if judged := r.Take(now, samples("ptp:eth0:0", start, 4)); len(judged) != 0 {
		t.Errorf("accepted samples reported: %+v", judged)
	}
	again := samples("ptp:eth0:0", start.Add(3*time.Second), 1)
	future := samples("ptp:eth0:0", now.Add(time.Hour), 1)
	judged := append(r.Take(now, again), r.Take(now, future)...)
	var got []sources.Outcome
	for _, j := range judged {
		got = append(got, j.Verdict.Outcome)
	}
	if diff := cmp.Diff([]sources.Outcome{sources.Duplicate, sources.Future}, got); diff != "" {
		t.Error(diff)
	}
	if s, _ := r.Find("ptp:eth0:0"); s.Rejected != 1 {
		t.Errorf("%d rejected, want 1: a duplicate is no rejection", s.Rejected)
	}
}

func TestPortsThatHearOneGrandmasterAreOneVote(t *testing.T) {
	r := roster.New(plan())
	u := report("ptp:eth0:0", start)
	u.Reports[0].Quality.Reference = "001122.fffe.334455"
	r.Take(start, u)
	r.Replan(plan())
	var got []string
	for _, c := range r.Input(start, 0).Candidates {
		got = append(got, c.Options.Independence)
	}
	if diff := cmp.Diff([]string{"ntp:192.0.2.1", "grandmaster 001122.fffe.334455"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReplanKeepsWhatHasBeenMeasured(t *testing.T) {
	r := roster.New(plan())
	r.Take(start.Add(time.Minute), samples("ptp:eth0:0", start, 4))
	r.Take(start, report("ntp:pool.example.net/198.51.100.7", start))
	next := []roster.Planned{
		{ID: "ntp:192.0.2.9", Kind: sources.NTP},
		{ID: "ptp:eth0:0", Kind: sources.PTP, Options: arbiter.Options{NoSelect: true, Floor: time.Millisecond}},
	}
	r.Replan(next)
	if diff := cmp.Diff([]sources.ID{"ntp:192.0.2.9", "ptp:eth0:0"}, ids(r)); diff != "" {
		t.Fatal(diff)
	}
	c := r.Input(start.Add(time.Minute), 0).Candidates[1]
	if e, ok := c.Estimate.Get(); !ok || e.Samples != 4 {
		t.Errorf("estimate %+v, want one of 4 samples", c.Estimate)
	}
	if !c.Options.NoSelect || c.Options.Floor != time.Millisecond {
		t.Errorf("options %+v are not the new ones", c.Options)
	}
}

func TestBrokenTextFromTheNetworkIsMended(t *testing.T) {
	r := roster.New(plan())
	u := report("ptp:eth0:0", start)
	u.Reports[0].Detail, u.Reports[0].Quality.Reference = "port is \xff", "GP\xc3S"
	r.Take(start, u)
	got, _ := r.Input(start, 0).Candidates[1].Report.Get()
	if got.Detail != "port is \uFFFD" || got.Quality.Reference != "GP\uFFFDS" {
		t.Errorf("detail %q, reference %q", got.Detail, got.Quality.Reference)
	}
}
