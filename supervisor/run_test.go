package supervisor

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clockarbiter/configs"
)

// whole is a supervisor with every part, whose chronyd does not exist.
type whole struct {
	*Supervisor
	journal *memoryJournal
	dir     string
	file    string
	doneC   chan error
	stop    context.CancelFunc

	mu   sync.Mutex
	sent []string
}

const wholeConfig = `
[clock]
driver = %q
[paths]
run_dir = "%[2]s/run"
state_dir = "%[2]s/state"
[ntp]
chronyd = "/nonexistent/chronyd"
[[ntp.server]]
address = "192.0.2.1"
%[3]s
`

func runWhole(t *testing.T, driver string) *whole {
	t.Helper()
	dir, err := os.MkdirTemp("", "whole")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	w := &whole{dir: dir, file: filepath.Join(dir, "conf")}
	w.write(t, driver, "")
	return w.again(t)
}

// again starts a supervisor with the configuration and the directories of w.
func (w *whole) again(t *testing.T) *whole {
	t.Helper()
	cfg, err := configs.Load(w.file)
	if err != nil {
		t.Fatal(err)
	}
	w = &whole{journal: &memoryJournal{}, dir: w.dir, file: w.file, doneC: make(chan error, 1)}
	w.Supervisor, err = New(cfg, Options{
		Version: "test", Log: discard(), Journal: w.journal,
		Load:   func() (*configs.Config, error) { return configs.Load(w.file) },
		Notify: func(s string) error { w.mu.Lock(); defer w.mu.Unlock(); w.sent = append(w.sent, s); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(t.Context())
	t.Cleanup(w.stop)
	go func() { w.doneC <- w.Run(ctx, NewPlan(cfg, Probe(ctx, cfg))) }()
	return w
}

func (w *whole) write(t *testing.T, driver, more string) {
	t.Helper()
	if err := os.WriteFile(w.file, []byte(fmt.Sprintf(wholeConfig, driver, w.dir, more)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *whole) notified(part string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return contains(w.sent, part)
}

func (w *whole) end(t *testing.T) error {
	t.Helper()
	w.stop()
	select {
	case err := <-w.doneC:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("Run has not returned")
		return nil
	}
}

func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func TestASupervisorRunsWithoutAnEngineAndStopsCleanly(t *testing.T) {
	for _, driver := range []string{"virtual", "observe"} {
		t.Run(driver, func(t *testing.T) {
			w := runWhole(t, driver)
			within(t, 5*time.Second, "ready", func() bool { return w.notified("READY=1") })
			socket := filepath.Join(w.dir, "run", "status.sock")
			within(t, 5*time.Second, "status names the problem", func() bool {
				st, err := ReadStatus(t.Context(), socket)
				return err == nil && st.Mode == "free-running" && len(st.Children) == 1 && strings.Contains(st.Children[0].Problem, "install the package chrony") &&
					len(st.Sources) == 1 && strings.Contains(st.Sources[0].Detail, "/nonexistent/chronyd") && st.Driver == driver
			})
			if err := w.end(t); err != nil {
				t.Error(err)
			}
			if !w.notified("STOPPING=1") || len(w.journal.messages(MessageStarted)) != 1 || len(w.journal.messages(MessageStopped)) != 1 {
				t.Errorf("told %q, journal %v", w.sent, w.journal.entries)
			}
			if _, err := net.Dial("unix", socket); err == nil {
				t.Error("the status socket is still answered")
			}
		})
	}
}

func TestReloadThroughTheControlSocket(t *testing.T) {
	w := runWhole(t, "virtual")
	within(t, 5*time.Second, "ready", func() bool { return w.notified("READY=1") })
	control := filepath.Join(w.dir, "run", controlSocket)
	awaitSocket(t, control)
	w.write(t, "virtual", "[[ntp.server]]\naddress = \"192.0.2.2\"")
	if err := RequestReload(t.Context(), control); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the new server is there", func() bool {
		st, err := ReadStatus(t.Context(), filepath.Join(w.dir, "run", "status.sock"))
		return err == nil && len(st.Sources) == 2
	})
	w.write(t, "virtual", "nonsense = 1")
	if err := RequestReload(t.Context(), control); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a bad configuration: %v", err)
	}
	if err := w.end(t); err != nil {
		t.Error(err)
	}
}

func TestASecondSupervisorIsRefusedAndALostSocketEndsTheFirst(t *testing.T) {
	w := runWhole(t, "virtual")
	within(t, 5*time.Second, "ready", func() bool { return w.notified("READY=1") })
	err := w.Run(t.Context(), Plan{})
	if err == nil || !strings.Contains(err.Error(), "another clockarbiter (pid") {
		t.Errorf("a second supervisor: %v", err)
	}
	if err := w.end(t); err != nil {
		t.Error(err)
	}
	v := runWhole(t, "virtual")
	if err := v.end(t); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(v.dir, "run", "status.sock")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(v.dir, "run", "status.sock"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := v.Run(t.Context(), Plan{}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("without a status socket: %v", err)
	}
}
