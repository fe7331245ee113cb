package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/integration/frugal"
	"clockarbiter/sources"
	"clockarbiter/supervisor/rivals"
)

func settings(answer string) configs.Clock {
	return configs.Clock{ForeignWrite: answer, ForeignAttempts: 3, ForeignQuiet: configs.Duration(time.Minute)}
}

func TestDefenceAnswersAsConfigured(t *testing.T) {
	type move struct {
		after    time.Duration
		stranger bool
		want     stance
	}
	for _, c := range []struct {
		rule, answer string
		moves        []move
	}{
		{"defend until the attempts are used up", "defend", []move{
			{0, true, defending}, {time.Second, true, defending}, {time.Second, true, defending}, {time.Second, true, holding}}},
		{"attempts are forgotten in quiet", "defend", []move{
			{0, true, defending}, {0, true, defending}, {0, true, defending}, {61 * time.Second, false, defending}, {0, true, defending}}},
		{"rare strangers never exhaust the attempts", "defend", []move{
			{0, true, defending}, {61 * time.Second, false, defending}, {0, true, defending}, {61 * time.Second, false, defending},
			{0, true, defending}, {61 * time.Second, false, defending}, {0, true, defending}, {61 * time.Second, false, defending}, {0, true, defending}}},
		{"hold at once", "hold", []move{{0, true, holding}}},
		{"a hold ends in quiet", "hold", []move{{0, true, holding}, {59 * time.Second, false, holding}, {time.Second, false, defending}}},
		{"quiet starts anew with each stranger", "hold", []move{
			{0, true, holding}, {59 * time.Second, true, holding}, {59 * time.Second, false, holding}, {time.Second, false, defending}}},
		{"a hold that is broken makes the next twice as long", "hold", []move{
			{0, true, holding}, {time.Minute, false, defending}, {time.Second, true, holding},
			{119 * time.Second, false, holding}, {time.Second, false, defending}}},
		{"and not after a long quiet", "hold", []move{
			{0, true, holding}, {time.Minute, false, defending}, {2 * time.Minute, false, defending}, {time.Second, true, holding},
			{time.Minute, false, defending}}},
		{"yield for good", "yield", []move{{0, true, yielded}, {1000 * time.Hour, false, yielded}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			d, now := newDefence(settings(c.answer)), timescale.Instant(0)
			for n, m := range c.moves {
				now = now.Add(m.after)
				before := d.stance
				changed := false
				if m.stranger {
					changed = d.intruded(now)
				} else {
					changed = d.calm(now)
				}
				if d.stance != m.want || changed != (before != d.stance) {
					t.Fatalf("move %d: %s, changed %v; want %s", n, d.stance, changed, m.want)
				}
			}
		})
	}
}

// Whatever strangers do, the clock is put right a bounded number of times and taken back ever more rarely.
func TestPropertyAFightDoesNotOscillate(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d, attempts, returns := newDefence(settings("defend")), 0, 0
		rest := time.Duration(rng.Int64N(int64(3 * time.Minute))) // a rival that comes back as soon as it is fought
		var next timescale.Instant
		for now := timescale.Instant(0); now < timescale.Instant(24*time.Hour); now = now.Add(time.Second) {
			before := d.stance
			switch {
			case d.stance == defending && now >= next:
				if made := d.made; !d.intruded(now) && d.made > made {
					attempts++
				}
				next = now.Add(rest / 20)
			default:
				d.calm(now)
			}
			if before == holding && d.stance == defending {
				returns++
			}
		}
		if returns > 11 || attempts > 3*(returns+1) {
			t.Errorf("seed %d: %d attempts and %d returns in a day against a rival that never ends", seed, attempts, returns)
		}
	}
}

// lockedRig is a rig whose clock is locked, with the owner's answer.
func lockedRig(t *testing.T, answer string) *rig {
	t.Helper()
	r := newRig(t)
	r.own.defence = newDefence(settings(answer))
	r.run(40 * time.Second)
	if st, _ := r.snapshot(); st.Mode != "locked" || st.Ownership.Intrusions != 0 {
		t.Fatalf("before: mode %s, %d intrusions: %s", st.Mode, st.Ownership.Intrusions, st.Ownership.Last)
	}
	return r
}

func TestLoopDefendsTheClock(t *testing.T) {
	for _, c := range []struct {
		what   string
		do     func(s clock.Stranger) error
		within time.Duration // until it is known
		limit  time.Duration // error of the clock then
	}{
		{"step of an hour", func(s clock.Stranger) error { s.Step(time.Hour); return nil }, 1500 * time.Millisecond, 3 * time.Microsecond},
		{"step of 1 us", func(s clock.Stranger) error { s.Step(time.Microsecond); return nil }, 1500 * time.Millisecond, 3 * time.Microsecond},
		{"slew of 0.1 ppm", func(s clock.Stranger) error { return s.Slew(100) }, 10 * time.Second, 3 * time.Microsecond},
		{"slew of 300 ppm", func(s clock.Stranger) error { return s.Slew(300_000) }, 2 * time.Second, 400 * time.Microsecond},
		{"frequency", func(s clock.Stranger) error { return s.SetFrequency(90_000) }, 1500 * time.Millisecond, 60 * time.Microsecond},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := lockedRig(t, "defend")
			if err := c.do(r.virtual.Stranger()); err != nil {
				t.Fatal(err)
			}
			r.run(c.within)
			st, _ := r.snapshot()
			if st.Ownership.Intrusions == 0 || !strings.HasPrefix(c.what, strings.Fields(st.Ownership.Last)[0]) || st.Ownership.Stance != "defending" {
				t.Errorf("within %s: %+v", c.within, st.Ownership)
			}
			if e := r.trueError().Abs(); e > c.limit || st.Clock.Steps != 1 {
				t.Errorf("the clock is off by %s after %s, limit %s; %d steps of our own choice", e, c.within, c.limit, st.Clock.Steps)
			}
			r.run(20 * time.Second)
			r.expect(t, "locked", "ptp:veth0:0", 5*time.Microsecond)
			if st, _ := r.snapshot(); st.Ownership.Intrusions > 3 {
				t.Errorf("one stranger counts %d times", st.Ownership.Intrusions)
			}
		})
	}
}

func TestLoopGivesUpAFightAndTakesTheClockBackInQuiet(t *testing.T) {
	r := lockedRig(t, "defend")
	for range 20 {
		r.virtual.Stranger().Step(time.Millisecond)
		r.run(5 * time.Second)
	}
	st, _ := r.snapshot()
	if st.Ownership.Stance != "holding" || st.Ownership.Intrusions != 20 || st.Clock.Synchronised || st.Clock.LastWrite[:7] != "nothing" {
		t.Errorf("after a fight: %+v, synchronised %v, %q", st.Ownership, st.Clock.Synchronised, st.Clock.LastWrite)
	}
	if !contains(st.Decision.Faults, "foreign-writer") {
		t.Errorf("faults %v", st.Decision.Faults)
	}
	// Three are put right, the rest is left: the clock is ahead by what the stranger added since.
	if e := r.trueError(); e > -16*time.Millisecond || e < -18*time.Millisecond {
		t.Errorf("true error %s on hold, want about -17 ms", e)
	}
	if n := len(r.journal.messages(MessageForeignWrite)); n > 4 {
		t.Errorf("%d entries for one fight", n)
	}
	r.run(61 * time.Second)
	if st, _ := r.snapshot(); st.Ownership.Stance != "defending" || !st.Ownership.Writing {
		t.Errorf("after quiet: %+v", st.Ownership)
	}
	r.run(2 * time.Minute)
	r.expect(t, "locked", "ptp:veth0:0", 5*time.Microsecond)
	if got := r.journal.messages(MessageOwnership); len(got) != 2 || !strings.Contains(got[0], "a fight") || !strings.Contains(got[1], "ours again") {
		t.Errorf("entries %q", got)
	}
}

func TestLoopHoldsWithoutARunningSlew(t *testing.T) {
	for _, answer := range []string{"hold", "yield"} {
		t.Run(answer, func(t *testing.T) {
			r := lockedRig(t, answer)
			before, err := r.virtual.Read()
			if err != nil {
				t.Fatal(err)
			}
			r.virtual.Stranger().Step(50 * time.Microsecond)
			r.run(30 * time.Second)
			after, err := r.virtual.Read()
			if err != nil {
				t.Fatal(err)
			}
			if d := after.FreqPPB - before.FreqPPB; d > 1000 || d < -1000 {
				t.Errorf("frequency moved by %.0f ppb", d)
			}
			if e := r.trueError() + 50*time.Microsecond; e.Abs() > 10*time.Microsecond {
				t.Errorf("the stranger's step did not stay: %s", e)
			}
			if err := r.discipline.Release(); err != nil {
				t.Fatal(err)
			}
			if last, _ := r.virtual.Read(); last.FreqPPB != after.FreqPPB {
				t.Error("the end of the supervisor writes to a clock that is not ours")
			}
		})
	}
}

func TestSuspectsAreInTheEntryOfTheForeignWrite(t *testing.T) {
	r := lockedRig(t, "defend")
	r.virtual.Stranger().Step(time.Millisecond)
	r.run(time.Second)
	if n := len(r.journal.messages(MessageForeignWrite)); n != 0 {
		t.Fatalf("%d entries before the suspects are known", n)
	}
	r.own.found(r.at, rivals.Result{Suspects: []rivals.Suspect{
		{PID: 300, Name: "chronyd", Unit: "chrony.service", Container: "docker 0123456789ab", Command: "chronyd -F 1", Reason: "chrony", Weight: rivals.WeightDaemon},
		{PID: 301, Name: "ntpd", Weight: rivals.WeightPowerless},
		{PID: 1, Name: "systemd", Weight: rivals.WeightRoot},
	}})
	var got map[string]string
	for _, e := range r.journal.entries {
		if e.ID == MessageForeignWrite {
			got = e.Fields
		}
	}
	want := map[string]string{
		"EVENT": "foreign-write", "WHAT": "step", "AMOUNT_NS": "1000000", "ANSWER": "defending", "SUSPECT": "chronyd", "SUSPECT_PID": "300",
		"SUSPECT_UNIT": "chrony.service", "CONTAINER": "docker 0123456789ab", "SUSPECT_COMMAND": "chronyd -F 1", "SUSPECT_REASON": "chrony",
		"REASON": got["REASON"], "DETECTED_AT": got["DETECTED_AT"],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if st := r.own.status(); len(st.Suspects) != 2 {
		t.Errorf("suspects in status: %v", st.Suspects)
	}
}

func TestEntriesDoNotWaitForEverForSuspects(t *testing.T) {
	r := lockedRig(t, "defend")
	r.virtual.Stranger().Step(time.Millisecond)
	r.run(5 * time.Second)
	if got := r.journal.messages(MessageForeignWrite); len(got) != 1 || !strings.Contains(got[0], "is not known") {
		t.Errorf("entries %q", got)
	}
	r.virtual.Stranger().Step(time.Millisecond)
	r.run(time.Second)
	r.own.found(r.at, rivals.Result{})
	if got := r.journal.messages(MessageForeignWrite); len(got) != 2 || !strings.Contains(got[1], "no suspect runs now") {
		t.Errorf("entries %q", got)
	}
	for range 2 * maxPending {
		r.own.wait(r.at, Entry{Fields: map[string]string{}}, sources.None[clock.Intrusion]())
	}
	if len(r.own.pending) > maxPending {
		t.Errorf("%d entries wait", len(r.own.pending))
	}
}

func TestRivalsAtStartAreJournalledOnce(t *testing.T) {
	r := newRig(t)
	r.own.starting = true
	found := rivals.Result{Suspects: []rivals.Suspect{{PID: 7, Name: "ntpd", Weight: rivals.WeightDaemon, Reason: "ntpd"}}, Err: errors.New("cut short")}
	r.own.found(r.at, found)
	r.own.found(r.at, found)
	if got := r.journal.messages(MessageRivals); len(got) != 1 || !strings.Contains(got[0], "ntpd (pid 7)") {
		t.Errorf("entries %q", got)
	}
}

func TestStrangerSocketMovesTheVirtualClock(t *testing.T) {
	v := clock.NewVirtual(func() timescale.Instant { return 0 }, 0, 0)
	path := filepath.Join(t.TempDir(), "stranger")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { serveStranger(ctx, path, v.Stranger(), discard()); close(done) }()
	var conn net.Conn
	var err error
	for range 200 {
		if conn, err = net.Dial("unixgram", path); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, order := range []string{"nonsense", "step x", "slew 1e9", "step 15ms\n"} {
		if _, err := conn.Write([]byte(order)); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; v.At(0) != 15*time.Millisecond; n++ {
		if n == 500 {
			t.Fatalf("the clock is at %s", v.At(0))
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-done
}

func TestStrangerOrders(t *testing.T) {
	v := clock.NewVirtual(func() timescale.Instant { return 0 }, 0, 0)
	for order, ok := range map[string]bool{
		"step -1us": true, "slew 0.1": true, "frequency -5": true, "": false, "step": false, "step 1": false, "slew": false,
		"slew NaN": false, "slew 501": false, "frequency 2000": false, "frequency NaN": false, "tick 5": false,
	} {
		if err := strangerDoes(v.Stranger(), order); (err == nil) != ok {
			t.Errorf("%q: %v", order, err)
		}
	}
}

func FuzzStrangerDoes(f *testing.F) {
	for _, s := range []string{"step 1ms", "slew 0.1", "frequency -5", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, order string) {
		frugal.Parse(t, len(order), func() {
			v := clock.NewVirtual(func() timescale.Instant { return 0 }, 0, 0)
			if err := strangerDoes(v.Stranger(), order); err != nil && fmt.Sprint(err) == "" {
				t.Error("an error without words")
			}
		})
	})
}

// The kernel tells at once that somebody set the clock (TFD_TIMER_CANCEL_ON_SET): nobody waits for a tick.
func TestASetClockIsPutRightBeforeTheNextTick(t *testing.T) {
	r := newRig(t)
	r.run(time.Minute)
	setC := make(chan struct{}, 1)
	r.own.setC = setC
	r.interval = time.Hour
	before := r.trueError()
	r.virtual.Stranger().Step(time.Millisecond)
	setC <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.loop.run(ctx) }()
	within(t, 10*time.Second, "the step is taken back", func() bool { return r.trueError() == before })
	cancel()
	<-done
	r.own.flush(r.at, true)
	if got := r.journal.messages(MessageForeignWrite); len(got) != 1 || !strings.Contains(got[0], "1ms") {
		t.Errorf("journal %v", got)
	}
}
