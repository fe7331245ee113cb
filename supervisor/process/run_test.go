package process

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// scripted is a child that obeys a script in place of an operating system.
type scripted struct {
	pid    int
	exitC  chan Exit
	begin  time.Time
	diesOf unix.Signal // the only signal that ends it; 0: none does
	got    []unix.Signal
}

func (c *scripted) PID() int           { return c.pid }
func (c *scripted) ExitC() <-chan Exit { return c.exitC }

func (c *scripted) Signal(sig unix.Signal) error {
	c.got = append(c.got, sig)
	if sig == c.diesOf {
		c.exitC <- Exit{PID: c.pid, Signal: sig, Ran: time.Since(c.begin)}
	}
	return nil
}

// script starts scripted children: each lives as long as the next of lives says, the last one for
// ever; a negative life is a start that goes wrong.
type script struct {
	lives    []time.Duration
	diesOf   unix.Signal
	children []*scripted
}

func (s *script) start(_ context.Context, _ Spec, emit func(int, string)) (child, error) {
	if len(s.lives) > 0 && s.lives[0] < 0 {
		s.lives = s.lives[1:]
		return nil, errors.New("no such program")
	}
	c := &scripted{pid: 100 + len(s.children), exitC: make(chan Exit, 1), begin: time.Now(), diesOf: s.diesOf}
	s.children = append(s.children, c)
	emit(c.pid, "hello")
	if len(s.lives) > 0 {
		life := s.lives[0]
		s.lives = s.lives[1:]
		time.AfterFunc(life, func() { c.exitC <- Exit{PID: c.pid, Code: 1, Ran: life} })
	}
	return c, nil
}

// run runs the script in the bubble of a test; stop ends ctx and returns what Run returned,
// events waits until nothing moves and returns what has happened.
func (s *script) run(options Options) (r *Runner, events func() []Event, stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	var seen []Event
	options.OnEvent = func(e Event) { seen = append(seen, e) }
	events = func() []Event { synctest.Wait(); return seen }
	options.Logger = slog.New(slog.DiscardHandler)
	r = New(Spec{Name: "child", Argv: []string{"/child"}}, options)
	r.start = s.start
	doneC := make(chan error)
	go func() { doneC <- r.Run(ctx) }()
	return r, events, func() error { cancel(); return <-doneC }
}

// delays returns the waits of the events, in order.
func delays(events []Event) (delays []time.Duration) {
	for _, e := range events {
		if e.Kind == EventBackingOff {
			delays = append(delays, e.Delay)
		}
	}
	return delays
}

// kinds returns the kinds of the events, in order.
func kinds(events []Event) string {
	var words []string
	for _, e := range events {
		words = append(words, e.Kind.String())
	}
	return strings.Join(words, " ")
}

func TestRestartsWaitLongerUntilARunWasHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{lives: []time.Duration{1, -1, 1, 1, time.Minute, 1}, diesOf: unix.SIGTERM}
		r, events, stop := s.run(Options{Backoff: Backoff{Min: time.Second, Max: 6 * time.Second, ResetAfter: time.Minute}, Seed: 7})
		time.Sleep(10 * time.Minute)
		nominal := []time.Duration{1, 2, 4, 6, 1, 2}
		got := delays(events())
		if len(got) != len(nominal) {
			t.Fatalf("waits %v, want %d of them", got, len(nominal))
		}
		exact := 0
		for i, d := range got {
			if n := nominal[i] * time.Second; d < n*3/4 || d > n*5/4 {
				t.Errorf("wait %d is %v, nominal %v", i, d, n)
			} else if d == n {
				exact++
			}
		}
		if exact == len(got) {
			t.Errorf("waits %v have no jitter", got)
		}
		want := State{Name: "child", Phase: PhaseRunning, PID: 105, Restarts: 6, Failures: 2}
		state := r.State()
		if state.Phase != want.Phase || state.PID != want.PID || state.Restarts != want.Restarts || state.Failures != want.Failures {
			t.Errorf("state %+v, want %+v", state, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestSameSeedSameWaits(t *testing.T) {
	waits := func(seed uint64) (got []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{lives: []time.Duration{1, 1, 1, 1}, diesOf: unix.SIGTERM}
			_, events, stop := s.run(Options{Seed: seed})
			time.Sleep(time.Hour)
			if err := stop(); err != nil {
				t.Error(err)
			}
			got = delays(events())
		})
		return got
	}
	if diff := cmp.Diff(waits(3), waits(3)); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(waits(3), waits(4)) {
		t.Error("another seed gives the same waits")
	}
}

func TestStateSaysWhatIsGoingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		s := &script{lives: []time.Duration{3 * time.Second}, diesOf: unix.SIGTERM}
		r, events, stop := s.run(Options{Backoff: Backoff{Min: 8 * time.Second, Max: 8 * time.Second}})
		synctest.Wait()
		if got := r.State(); got.Phase != PhaseRunning || got.PID != 100 || !cmp.Equal(got.LastLines, []string{"hello"}) || got.LastExit != nil {
			t.Errorf("while it runs: %+v", got)
		}
		time.Sleep(4 * time.Second)
		got := r.State()
		next := begin.Add(3 * time.Second).Add(delays(events())[0])
		if got.Phase != PhaseBackingOff || got.PID != 0 || got.LastExit == nil || got.LastExit.Code != 1 || !got.NextStart.Equal(next) {
			t.Errorf("while it backs off: %+v", got)
		}
		if in := got.NextStartIn(time.Now()); in != time.Until(next) {
			t.Errorf("next start in %v, want %v", in, time.Until(next))
		}
		if !got.Since.Equal(begin.Add(3 * time.Second)) {
			t.Errorf("since %v, want 3s after %v", got.Since, begin)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := r.State(); got.Phase != PhaseStopped || !got.NextStart.IsZero() || got.Restarts != 0 {
			t.Errorf("in the end: %+v", got)
		}
		if got, want := kinds(events()), "started exited backing-off stopped"; got != want {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}

func TestTermThenGraceThenKill(t *testing.T) {
	for _, test := range []struct {
		rule   string
		diesOf unix.Signal
		takes  time.Duration
		exit   string
		signal []unix.Signal
	}{
		{"a child that obeys", unix.SIGTERM, 0, "killed by SIGTERM, as asked", []unix.Signal{unix.SIGTERM, unix.SIGCONT}},
		{"a child that does not", unix.SIGKILL, 3 * time.Second, "killed by SIGKILL, did not stop within the grace",
			[]unix.Signal{unix.SIGTERM, unix.SIGCONT, unix.SIGKILL}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{diesOf: test.diesOf}
			r, events, stop := s.run(Options{Grace: 3 * time.Second})
			synctest.Wait()
			begin := time.Now()
			if err := stop(); err != nil {
				t.Errorf("%s: %v", test.rule, err)
			}
			if took := time.Since(begin); took != test.takes {
				t.Errorf("%s: stopped after %v, want %v", test.rule, took, test.takes)
			}
			if got := r.State().LastExit.String(); got != test.exit {
				t.Errorf("%s: exit %q, want %q", test.rule, got, test.exit)
			}
			if diff := cmp.Diff(test.signal, s.children[0].got); diff != "" {
				t.Errorf("%s:\n%s", test.rule, diff)
			}
			if got, want := kinds(events()), "started exited stopped"; got != want {
				t.Errorf("%s: events %q, want %q", test.rule, got, want)
			}
		})
	}
}

func TestAChildThatSurvivesKillIsNamedAndHasNoSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		r, events, stop := s.run(Options{})
		synctest.Wait()
		r.Restart("mute")
		time.Sleep(time.Hour)
		if got, want := kinds(events()), "started restarting stuck"; got != want {
			t.Errorf("events %q, want %q", got, want)
		}
		if len(s.children) != 1 || r.State().Phase != PhaseStopping {
			t.Errorf("%d children, %v", len(s.children), r.State().Phase)
		}
		begin := time.Now()
		if err := stop(); err == nil || !strings.Contains(err.Error(), "process 100: has survived SIGKILL") {
			t.Errorf("Run returns %v", err)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("Run returned %v after the end of ctx", took)
		}
		if got := r.State(); got.Phase != PhaseFailed || got.PID != 100 || got.LastError == nil {
			t.Errorf("in the end: %+v", got)
		}
	})
}

func TestRestartStopsCountsAndStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{diesOf: unix.SIGTERM}
		r, events, stop := s.run(Options{})
		synctest.Wait()
		time.Sleep(time.Hour)
		if !r.Restart("no samples for 60s") || !r.Restart("once more") {
			t.Error("a running child was not there to restart")
		}
		synctest.Wait()
		if r.Restart("backing off") {
			t.Error("a restart was accepted without a child")
		}
		time.Sleep(time.Hour)
		if got, want := kinds(events()), "started restarting exited backing-off started"; got != want {
			t.Errorf("events %q, want %q", got, want)
		}
		if got := (events())[1].Reason; got != "no samples for 60s" {
			t.Errorf("reason %q", got)
		}
		if got := r.State(); got.Restarts != 1 || got.Failures != 1 || got.PID != 101 {
			t.Errorf("state %+v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestARestartedRunIsHealthyOnlyAsFarAsItsProgress(t *testing.T) {
	for _, test := range []struct {
		rule     string
		progress time.Duration // after the start; negative: none
		want     int
	}{
		{"alive for an hour without progress", -1, 3},
		{"progress for less than ResetAfter", 59 * time.Second, 3},
		{"progress for longer", 61 * time.Second, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{lives: []time.Duration{1, 1}, diesOf: unix.SIGTERM}
			r, _, stop := s.run(Options{Backoff: Backoff{Min: 1, Max: 2, ResetAfter: time.Minute}})
			time.Sleep(time.Second) // two short runs are over, the third began less than 100 ns after the first
			if test.progress >= 0 {
				time.Sleep(test.progress - time.Second)
				r.Progress()
			}
			time.Sleep(time.Hour)
			r.Restart("mute")
			synctest.Wait()
			if got := r.State().Failures; got != test.want {
				t.Errorf("%s: %d failures in a row, want %d", test.rule, got, test.want)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPrepareComesBeforeEveryStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := &script{lives: []time.Duration{1}, diesOf: unix.SIGTERM}
		ctx, cancel := context.WithCancel(context.Background())
		var events []Event
		r := New(Spec{Name: "child", Argv: []string{"/child"}, Prepare: func() error {
			if calls++; calls == 2 {
				return errors.New("disk full")
			}
			return nil
		}}, Options{OnEvent: func(e Event) { events = append(events, e) }, Logger: slog.New(slog.DiscardHandler)})
		r.start = s.start
		doneC := make(chan error)
		go func() { doneC <- r.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-doneC; err != nil {
			t.Error(err)
		}
		if got, want := kinds(events), "started exited backing-off start-failed backing-off started exited stopped"; got != want {
			t.Errorf("events %q, want %q", got, want)
		}
		if got, want := events[3].String(), "child could not be started: prepare child: disk full"; got != want {
			t.Errorf("event %q, want %q", got, want)
		}
	})
}

func TestPrepareThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		releaseC := make(chan struct{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r := New(Spec{Name: "child", Argv: []string{"/child"}, Prepare: func() error { <-releaseC; return nil }},
			Options{OnEvent: func(Event) {}, Logger: slog.New(slog.DiscardHandler)})
		s := &script{}
		r.start = s.start
		begin := time.Now()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		close(releaseC)
		synctest.Wait()
		if took := time.Since(begin); took != time.Second || len(s.children) != 0 {
			t.Errorf("Run took %v and started %d children, want 1s and none", took, len(s.children))
		}
	})
}

func TestASpecThatCanNeverRunIsRefusedAtOnce(t *testing.T) {
	good := Spec{Name: "child", Argv: []string{"/child"}}
	for _, test := range []struct {
		rule   string
		change func(*Spec)
		want   string
	}{
		{"the clock is nobody else's", func(s *Spec) { s.Capabilities = []Capability{"CAP_SYS_TIME"} }, "CAP_SYS_TIME is refused"},
		{"nor by way of another process", func(s *Spec) { s.Capabilities = []Capability{"CAP_SYS_PTRACE"} }, "CAP_SYS_PTRACE is refused"},
		{"nor of the kernel", func(s *Spec) { s.Capabilities = []Capability{"CAP_SYS_MODULE"} }, "CAP_SYS_MODULE is refused"},
		{"capabilities have names", func(s *Spec) { s.Capabilities = []Capability{"NET_RAW"} }, `"NET_RAW" is unknown`},
		{"no program", func(s *Spec) { s.Argv = nil }, "absolute path"},
		{"no search for the program", func(s *Spec) { s.Argv = []string{"chronyd"} }, "absolute path"},
		{"no relative directory", func(s *Spec) { s.Dir = "run" }, `"run" must be an absolute path`},
		{"a group without a user", func(s *Spec) { s.Credential.Group = "adm" }, "without a user"},
		{"a NUL would end an argument", func(s *Spec) { s.Argv = append(s.Argv, "a\x00b") }, "without NUL"},
		{"a name", func(s *Spec) { s.Name = "" }, "no name"},
	} {
		spec := good
		test.change(&spec)
		r := New(spec, Options{OnEvent: func(Event) {}})
		err := r.Run(context.Background())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.rule, err, test.want)
		}
		if got := r.State(); got.Phase != PhaseFailed || got.LastError == nil {
			t.Errorf("%s: state %+v", test.rule, got)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestAChildThatFailsAgainAndAgainIsLeftAloneForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{lives: []time.Duration{-1, 1, -1, 1, 1, 1}, diesOf: unix.SIGTERM}
		r, events, stop := s.run(Options{Backoff: Backoff{
			Min: time.Second, Max: 4 * time.Second, ResetAfter: time.Minute, QuarantineAfter: 3, Quarantine: 10 * time.Minute,
		}})
		time.Sleep(5 * time.Minute)
		last := events()[len(events())-1]
		if last.Kind != EventQuarantined || last.Delay < 7*time.Minute {
			t.Errorf("after three failures: %v, want the quarantine", last)
		}
		if st := r.State(); st.Phase != PhaseQuarantined || st.Failures != 3 {
			t.Errorf("state %+v, want quarantined after 3 failures", st)
		}
		for range 2 {
			if !r.Retry() {
				t.Error("a child in quarantine cannot be asked to retry")
			}
		}
		synctest.Wait()
		if got := len(s.children); got != 2 {
			t.Errorf("%d children after the retry, want 2", got)
		}
		time.Sleep(5 * time.Minute)
		if st := r.State(); st.Phase != PhaseQuarantined || st.Failures != 4 {
			t.Errorf("a failure after the retry: %+v, want the quarantine again, without a second retry", st)
		}
		time.Sleep(time.Hour)
		if st := r.State(); st.Phase != PhaseRunning || r.Retry() {
			t.Errorf("state %+v, want running and nothing to retry", st)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAChildThatDoesItsWorkBetweenFailuresIsNeverInQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{diesOf: unix.SIGTERM}
		for range 20 {
			s.lives = append(s.lives, 10*time.Second)
		}
		r, events, stop := s.run(Options{Backoff: Backoff{
			Min: time.Second, Max: 4 * time.Second, ResetAfter: time.Minute, QuarantineAfter: 3, Quarantine: 10 * time.Minute,
		}})
		for range 400 {
			time.Sleep(time.Second)
			r.Progress()
		}
		for _, e := range events() {
			if e.Kind == EventQuarantined {
				t.Fatalf("%v, although it worked for 10 s each time", e)
			}
		}
		if st := r.State(); st.Failures < 15 || st.Fruitless != 0 {
			t.Errorf("state %+v, want many failures, none of them fruitless", st)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
