package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/clock"
)

// serve runs a server until the test ends.
func serve(t *testing.T, run func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	doneC := make(chan error, 1)
	go func() { doneC <- run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-doneC:
			return err
		case <-time.After(5 * time.Second):
			return errors.New("the server has not ended")
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

func awaitSocket(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func lockedStatus() (Status, bool) { return Status{Mode: "locked", PID: 7}, true }

func TestStatusReplacesALeftOverSocketAndRefusesALiveOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "status.sock")
	stop := serve(t, NewStatusServer(path, lockedStatus, discard()).Run)
	awaitSocket(t, path)
	err := NewStatusServer(path, lockedStatus, discard()).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "answered by another clockarbiter") {
		t.Errorf("a second server: %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	leaveSocket(t, path)
	serve(t, NewStatusServer(path, lockedStatus, discard()).Run)
	awaitSocket(t, path)
	if st, err := ReadStatus(t.Context(), path); err != nil || st.PID != 7 {
		t.Errorf("after a left-over socket: %+v, %v", st, err)
	}
}

// leaveSocket binds a socket that nobody answers on, as a killed supervisor leaves one.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
}

func TestStatusNeverReplacesWhatIsNotASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewStatusServer(path, lockedStatus, discard()).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestAThousandSlowAndGarbageClientsDisturbNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.sock")
	big := Status{Mode: "locked", Sources: make([]SourceStatus, 2000)} // more than a socket's buffer
	snapshot := func() (Status, bool) { return big, true }
	serve(t, NewStatusServer(path, snapshot, discard()).Run)
	awaitSocket(t, path)
	before := openFiles(t)
	var clients []net.Conn
	for i := range 1000 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		clients = append(clients, c)
		if i%2 == 0 { // garbage; the other half never reads
			_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			_, _ = c.Write([]byte(strings.Repeat("\x00{}\n", 1000))) // refused or not: that is the server's affair
		}
	}
	if held := openFiles(t) - before - len(clients); held > statusMaxClients+2 {
		t.Errorf("the server holds %d descriptors for clients that do not read", held)
	}
	for _, c := range clients {
		c.Close()
	}
	for deadline := time.Now().Add(10 * statusWriteTimeout); ; time.Sleep(20 * time.Millisecond) {
		st, err := ReadStatus(t.Context(), path)
		if err == nil && len(st.Sources) == 2000 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("an honest client is not answered: %v", err)
		}
	}
	if now := openFiles(t); now > before+statusMaxClients+1 {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestStatusBeforeTheFirstDecisionSaysStarting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.sock")
	serve(t, NewStatusServer(path, func() (Status, bool) { return Status{PID: 9}, false }, discard()).Run)
	awaitSocket(t, path)
	if st, err := ReadStatus(t.Context(), path); err != nil || st.Mode != "starting" || st.PID != 9 {
		t.Errorf("status %+v, %v", st, err)
	}
}

func TestReadStatusSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadStatus(t.Context(), filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "is clockarbiter running") {
		t.Errorf("nobody there: %v", err)
	}
	path := filepath.Join(dir, "mute.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := ReadStatus(ctx, path); err == nil {
		t.Error("a server that says nothing is waited for longer than asked")
	}
}

func TestControlObeysRootOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	var reloads int
	answer := error(nil)
	server := &controlServer{path: path, log: discard(), reload: func(context.Context) error { reloads++; return answer }}
	serve(t, server.run)
	awaitSocket(t, path)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := RequestReload(t.Context(), path); err != nil || reloads != 1 {
		t.Errorf("reload: %v, %d times", err, reloads)
	}
	answer = fmt.Errorf("%w: line 3", errReloadRefused)
	if err := RequestReload(t.Context(), path); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("a refused reload: %v", err)
	}
	if err := RequestReload(t.Context(), path+".none"); err == nil || !strings.Contains(err.Error(), "are you root") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestControlTakesNoOtherInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	server := &controlServer{path: path, log: discard(), reload: func(context.Context) error { t.Error("obeyed"); return nil }}
	serve(t, server.run)
	awaitSocket(t, path)
	for _, tc := range []struct{ name, request, want string }{
		{"unknown verb", "step 1000\n", "unknown request"},
		{"prefix", "reload now\n", "unknown request"},
		{"endless", strings.Repeat("reload", 1000), "no request within"},
		{"binary", "\x00\xff\n", "unknown request"},
		{"nothing", "", "no request within"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(2 * controlTimeout)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, tc.request) // the server may have hung up already
			answer, _ := io.ReadAll(c)
			if len(answer) > 0 && !strings.Contains(string(answer), tc.want) || len(answer) == 0 && tc.name != "endless" {
				t.Errorf("answer %q, want %q", answer, tc.want)
			}
		})
	}
}

func TestTheLockSaysWhoHoldsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("a second supervisor: %v", err)
	}
	unlock()
	unlock, err = lock(dir)
	if err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
	unlock()
	if err := os.Truncate(filepath.Join(dir, lockFile), 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); err == nil || !strings.Contains(err.Error(), "pid unknown") {
		t.Errorf("a holder without a name: %v", err)
	}
	if _, err := lock("/proc/none"); err == nil {
		t.Error("a directory that cannot be made is no error")
	}
}

func TestStatusOfAGroupIsForThatGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.sock")
	serve(t, NewStatusServer(path, lockedStatus, discard()).Restrict("nogroup").Run)
	awaitSocket(t, path)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&0o777 != 0o660 || st.Gid != 65534 {
		t.Errorf("mode %o, group %d, %v; want 660 and nogroup", st.Mode&0o777, st.Gid, err)
	}
	err := NewStatusServer(path+"2", lockedStatus, discard()).Restrict("no-such-group").Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "set paths.status_group") {
		t.Errorf("a group that does not exist: %v", err)
	}
}

// Whoever is not root is refused by the kernel's word on who it is, even where the socket lets it in.
func TestControlKnowsItsClientsByTheKernelsWord(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("another user can only be had by root: run the tests as root")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	server := &controlServer{path: path, log: discard(), reload: func(context.Context) error { t.Error("obeyed"); return nil }}
	serve(t, server.run)
	awaitSocket(t, path)
	for p := dir; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	answerC := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its user
		const nobody = 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			answerC <- errno
			return
		}
		answerC <- RequestReload(context.WithoutCancel(t.Context()), path)
	}()
	if err := <-answerC; err == nil || !strings.Contains(err.Error(), "only root may") {
		t.Errorf("nobody asked for a reload: %v", err)
	}
}

// A thousand clients at once, half of whom never read and half of whom never end their request.
func TestAThousandClientsDoNotSlowTheLoop(t *testing.T) {
	r := newRig(t)
	host, err := clock.NewHost()
	if err != nil {
		t.Fatal(err)
	}
	r.now, r.interval = host.Now, 20*time.Millisecond
	r.loop.discipline = clock.NewDiscipline(clock.NewVirtual(host.Now, 0, 0), clock.DisciplineOptions{Interval: r.interval, MaxSlewPPM: 400, MaxFrequencyPPM: 500})
	dir := t.TempDir()
	status, control := filepath.Join(dir, "status.sock"), filepath.Join(dir, "control.sock")
	serve(t, NewStatusServer(status, r.snapshot, discard()).Run)
	serve(t, (&controlServer{path: control, log: discard(), reload: func(context.Context) error { return nil }}).run)
	awaitSocket(t, status)
	awaitSocket(t, control)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var idle lateness
	wg.Go(func() { r.loop.run(ctx) })
	wg.Go(func() { tickIdly(ctx, r.interval, &idle) })
	before := openFiles(t)
	var clients []net.Conn
	refused := 0
	for n := range 1000 {
		path := status
		if n%2 == 1 {
			path = control
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "client")
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			refused++ // the queue of the one control client is full: that is a bound, too
			f.Close()
			continue
		}
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		_, _ = c.Write([]byte("reload")) // and never an end
		clients = append(clients, c)
	}
	if held := openFiles(t) - before - len(clients); held > statusMaxClients+4 {
		t.Errorf("the servers hold %d descriptors", held)
	}
	time.Sleep(2 * time.Second)
	for _, c := range clients {
		c.Close()
	}
	cancel()
	wg.Wait()
	is, was := r.state.late.quantile(0.95), idle.quantile(0.95)
	t.Logf("%d clients, %d turned away; 95 %% of %d ticks late by at most %v, of an idle loop beside it %v", len(clients), refused, r.state.status.Ticks, is, was)
	if is > 2*was+r.interval {
		t.Errorf("95 %% of the ticks were late by up to %v, of an idle loop beside it by %v", is, was)
	}
}
