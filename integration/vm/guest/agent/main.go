// Command agent runs in the test guest and does what the harness asks over a virtio serial port. It
// needs no network, no timer and no cryptography, so it works in virtual time, where a network
// client on the host would see the guest's time race.
//
// A request is "run LENGTH\n" and a shell script, or "put MODE LENGTH PATH\n" and a file's content.
// The answer is any number of "o LENGTH\n" and output, then "x STATUS\n".
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	port = "/dev/virtio-ports/harness"
	// retry is the wait for the port to appear, and for the harness to connect to it.
	retry = 20 * time.Millisecond
	// Exit statuses of our own, as a shell has them.
	statusBadRequest = 126
	statusNotStarted = 127
)

func main() {
	for {
		if err := serve(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintln(os.Stderr, err)
		}
		time.Sleep(retry)
	}
}

// serve answers requests until the port is lost. A port that nobody is connected to reads as ended.
func serve() error {
	f, err := os.OpenFile(port, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // nothing is lost with it: every answer was written
	r := bufio.NewReaderSize(f, 1<<16)
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			time.Sleep(retry)
			r.Reset(f)
			continue
		}
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		status, err := handle(strings.Fields(line), r, f)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(f, "x %d\n", status); err != nil {
			return fmt.Errorf("write status: %w", err)
		}
		if err := linger(f); err != nil {
			return err
		}
	}
}

// lingerFor is how long the harness may take, in the guest's time, to stop the guest.
const lingerFor = 100 * time.Millisecond

// linger keeps the processor busy, with what nobody else wants of it, until there is another request: the time of a guest
// that executes goes slower than that of its host, while an idle one would get ahead by seconds on a busy host before the
// harness, which has the answer by now, has stopped it.
func linger(f *os.File) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := schedule(unix.SCHED_IDLE); err != nil {
		return err
	}
	waiting := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	for until := time.Now().Add(lingerFor); time.Now().Before(until); {
		n, err := unix.Poll(waiting, 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for a request: %w", err)
		}
		if n > 0 {
			break
		}
	}
	return schedule(unix.SCHED_NORMAL)
}

// schedule sets the policy of this thread.
func schedule(policy uint32) error {
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy}, 0); err != nil {
		return fmt.Errorf("set the scheduling policy: %w", err)
	}
	return nil
}

func handle(request []string, r io.Reader, w io.Writer) (status int, err error) {
	if len(request) < 2 {
		return statusBadRequest, nil
	}
	switch {
	case request[0] == "run":
		script, err := body(r, request[1])
		if err != nil {
			return 0, err
		}
		return run(script, w)
	case request[0] == "put" && len(request) == 4:
		content, err := body(r, request[2])
		if err != nil {
			return 0, err
		}
		if err := put(request[1], request[3], content); err != nil {
			return 1, output{w}.print(err.Error() + "\n")
		}
		return 0, nil
	}
	return statusBadRequest, nil
}

func body(r io.Reader, length string) ([]byte, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("request of length %q", length)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return b, nil
}

// run runs a script and passes on what it prints as it comes. What the script leaves in the
// background must redirect its output: the answer ends when nobody can write to it any more.
func run(script []byte, w io.Writer) (int, error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("make pipe: %w", err)
	}
	defer pr.Close() // only read from
	cmd := exec.Command("/bin/sh", "-s")
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = strings.NewReader(string(script)), pw, pw, "/root"
	cmd.Env = []string{"HOME=/root", "LC_ALL=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	err = cmd.Start()
	pw.Close() // the child has its own copy
	if err != nil {
		return statusNotStarted, output{w}.print(err.Error() + "\n")
	}
	if _, err := io.Copy(output{w}, pr); err != nil {
		return 0, fmt.Errorf("pass output on: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return 0, fmt.Errorf("wait for script: %w", err)
		}
	}
	return cmd.ProcessState.ExitCode(), nil
}

// put replaces a file, also a program that is running.
func put(mode, path string, content []byte) error {
	m, err := strconv.ParseUint(mode, 8, 12)
	if err != nil {
		return fmt.Errorf("mode %q: %w", mode, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, os.FileMode(m)); err != nil {
		return err
	}
	if err := os.Chmod(path+".new", os.FileMode(m)); err != nil { // the umask had its say
		return err
	}
	return os.Rename(path+".new", path)
}

// output frames what is written to it.
type output struct{ w io.Writer }

func (o output) Write(p []byte) (int, error) {
	if _, err := fmt.Fprintf(o.w, "o %d\n%s", len(p), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (o output) print(s string) error {
	_, err := io.WriteString(o, s)
	return err
}
