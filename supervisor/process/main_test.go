package process

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeVariable selects what the test binary does when it is run as a child.
const fakeVariable = "FAKE_CHILD"

// self is the test binary by a path that any user may execute.
const self = "/proc/self/exe"

// TestMain is a shim, a fake child or the tests. The former end with syscall.Exit, which leaves out what
// the race detector and the coverage would do and say at the end of a process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ShimArgument {
		fmt.Fprintln(os.Stderr, "shim:", RunShim(os.Args[2:]))
		syscall.Exit(127)
	}
	if behaviour := os.Getenv(fakeVariable); behaviour != "" {
		fake(behaviour)
		syscall.Exit(0)
	}
	os.Exit(m.Run())
}

// fake behaves as a child is asked to.
func fake(behaviour string) {
	switch behaviour {
	case "exit":
		fmt.Println("about to end")
		syscall.Exit(3)
	case "sleep":
		fmt.Println("ready")
	case "ignore-term":
		signal.Ignore(unix.SIGTERM)
		fmt.Println("ready")
	case "garbage":
		_, _ = os.Stdout.Write([]byte("tab\tand \xff\xfe and \x1b[31mred\x1b[0m\r\n\x00\n\n"))
		_, _ = os.Stderr.WriteString(strings.Repeat("x", 3*maxLine+10) + "\nlast without an end")
		return
	case "status":
		text, err := os.ReadFile("/proc/thread-self/status")
		fmt.Println(string(text), err)
		fds, err := os.ReadDir("/proc/self/fd")
		for _, fd := range fds {
			name, _ := os.Readlink("/proc/self/fd/" + fd.Name())
			fmt.Println("Fd"+fd.Name()+":\t"+name, err)
		}
	case "facts":
		facts()
	case "grandchild":
		grandchild(false)
	case "daemon":
		grandchild(true)
		return
	case "supervise":
		supervise()
		return
	}
	time.Sleep(time.Minute)
}

// facts prints what a child finds.
func facts() {
	dir, _ := os.Getwd()
	var data, files unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_DATA, &data)
	_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &files)
	in, _ := io.ReadAll(os.Stdin)
	fmt.Printf("dir=%s umask=%03o env=%q args=%q data=%d files=%d stdin=%d group=%t\n", dir, unix.Umask(0), os.Environ(),
		os.Args[1:], data.Max, files.Max, len(in), unix.Getpgrp() == os.Getpid())
}

// grandchild starts one that holds the output pipe, in a session of its own when it is to escape.
func grandchild(escape bool) {
	cmd := exec.Command(self)
	cmd.Env = fakeEnv("ignore-term")
	cmd.Stdout = os.Stdout
	if escape {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		syscall.Exit(1)
	}
	fmt.Println("grandchild", cmd.Process.Pid)
	time.Sleep(200 * time.Millisecond)
}

// supervise runs two children until it is killed: the supervising process of the test.
func supervise() {
	doneC := make(chan error)
	for _, name := range []string{"one", "two"} {
		spec := fakeSpec(name+os.Getenv("TOKEN"), "ignore-term")
		if user := os.Getenv("CHILD_USER"); user != "" {
			spec.Credential.User = user
		}
		if capability := os.Getenv("CHILD_CAPABILITY"); capability != "" {
			spec.Capabilities = []Capability{Capability(capability)}
		}
		r := New(spec, Options{Logger: slog.New(slog.DiscardHandler), OnEvent: func(e Event) { fmt.Println(e) }})
		go func() { doneC <- r.Run(context.Background()) }()
	}
	fmt.Println(<-doneC)
}

// fakeSpec is a child that behaves as asked. Its name is among its arguments.
func fakeSpec(name, behaviour string) Spec {
	return Spec{
		Name: name,
		Argv: []string{self, name},
		Env:  fakeEnv(behaviour),
	}
}

// fakeEnv is the environment of a child that behaves as asked.
func fakeEnv(behaviour string) []string { return []string{fakeVariable + "=" + behaviour} }

// trial is a Runner under test with all that it says.
type trial struct {
	*Runner
	t      *testing.T
	eventC chan Event
	doneC  chan error
	cancel context.CancelFunc
}

// try runs spec until the test ends.
func try(t *testing.T, spec Spec, options Options) *trial {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tr := &trial{t: t, eventC: make(chan Event, 1000), doneC: make(chan error, 1), cancel: cancel}
	options.OnEvent = func(e Event) { tr.eventC <- e }
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	tr.Runner = New(spec, options)
	go func() { tr.doneC <- tr.Run(ctx) }()
	t.Cleanup(func() {
		if err := tr.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return tr
}

// end stops the Runner and returns what Run did.
func (tr *trial) end() error {
	tr.t.Helper()
	tr.cancel()
	select {
	case err := <-tr.doneC:
		tr.doneC <- nil
		return err
	case <-time.After(20 * time.Second):
		tr.t.Fatal("Run has not returned")
		return nil
	}
}

// await returns the next event of a kind.
func (tr *trial) await(kind EventKind) Event {
	tr.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e := <-tr.eventC:
			if e.Kind == kind {
				return e
			}
		case <-timeout:
			tr.t.Fatalf("no event %v; state %+v", kind, tr.State())
		}
	}
}

// awaitLine returns the first of the last lines that begins with prefix.
func (tr *trial) awaitLine(prefix string) string {
	tr.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, line := range tr.State().LastLines {
			if strings.HasPrefix(line, prefix) {
				return line
			}
		}
	}
	tr.t.Fatalf("no line %q; state %+v", prefix, tr.State())
	return ""
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// processesOf returns the living processes that have text in their command line.
func processesOf(t *testing.T, text string) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if strings.Contains(string(line), text) && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually fails the test when condition is not true within limit.
func eventually(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// needRoot skips a test of what only root can do.
func needRoot(t *testing.T) {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("needs root: changes user and capabilities of a child")
	}
}

// lineReader reads lines of a supervising process.
func lineReader(r io.Reader) <-chan string {
	lineC := make(chan string, 100)
	go func() {
		defer close(lineC)
		for s := bufio.NewScanner(r); s.Scan(); {
			lineC <- s.Text()
		}
	}()
	return lineC
}
