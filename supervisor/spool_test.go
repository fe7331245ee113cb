package supervisor

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clockarbiter/configs"
)

// hung is a journal whose reader was stopped: journald behind SIGSTOP, a terminal behind Ctrl-S.
type hung struct{ release chan struct{} }

func (h hung) Write(Entry) error { <-h.release; return nil }

func (h hung) take(string) error { <-h.release; return nil }

func TestAHungReaderCostsItsEntriesAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hung{make(chan struct{})}
		j := newSpooledJournal(h, discard())
		var lost error
		for range spoolLength + 10 {
			if err := j.Write(Entry{}); err != nil {
				lost = err
			}
		}
		if lost == nil || !strings.Contains(lost.Error(), "lost") || j.lost.Load() < 5 {
			t.Errorf("%d lost: %v", j.lost.Load(), lost)
		}
		begin := time.Now()
		j.close()
		if took := time.Since(begin); took != spoolEnd {
			t.Errorf("the end waited %v", took)
		}
		close(h.release)
		j.close()
	})
}

func TestWhatIsLoggedArrivesInOrder(t *testing.T) {
	var text bytes.Buffer
	w := NewLogWriter(&text)
	line := []byte("a\n")
	for range 26 {
		if n, err := w.Write(line); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		line[0]++ // the writer keeps a copy
	}
	w.Close()
	if got := strings.ReplaceAll(text.String(), "\n", ""); got != "abcdefghijklmnopqrstuvwxyz" {
		t.Errorf("%q", got)
	}
}

func TestASupervisorRunsAndEndsWhileJournalAndServiceManagerHang(t *testing.T) {
	h := hung{make(chan struct{})}
	defer close(h.release)
	cfg := lonely(t)
	cfg.Clock.Interval = configs.Duration(10 * time.Millisecond)
	s, err := New(cfg, Options{Version: "test", Log: discard(), Journal: h, Notify: h.take})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	doneC := make(chan error, 1)
	go func() { doneC <- s.Run(ctx, Plan{}) }()
	awaitSocket(t, cfg.Paths.StatusSocket)
	var st Status
	for deadline := time.Now().Add(20 * time.Second); st.Loop.Ticks < 100; time.Sleep(20 * time.Millisecond) {
		if st, err = ReadStatus(t.Context(), cfg.Paths.StatusSocket); err != nil || time.Now().After(deadline) {
			t.Fatalf("%d ticks, %v", st.Loop.Ticks, err)
		}
	}
	cancel()
	select {
	case err := <-doneC:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(3*spoolEnd + endTimeout):
		t.Error("the supervisor waits for readers that hang")
	}
}

// lonely is a configuration without an engine that could run, in a directory of its own.
func lonely(t *testing.T) *configs.Config {
	t.Helper()
	cfg := parse(t, rigConfig)
	dir := t.TempDir()
	cfg.Clock.Driver = "virtual"
	cfg.Paths.RunDir, cfg.Paths.StateDir, cfg.Paths.StatusSocket = dir, filepath.Join(dir, "state"), filepath.Join(dir, "status.sock")
	return cfg
}
