package namespaces

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// workDir is where worlds keep their files. It exists only inside the namespaces, on the private /run.
const workDir = "/run/world"

// toolDir is where World.Tool puts programs.
const toolDir = "/run/tools"

// tempDir takes the place of /tmp as TMPDIR, so that temporary files vanish too.
const tempDir = "/run/tmp"

// lifelineFD is the read end of the pipe that runOutside holds open.
const lifelineFD = 3

// runInit is process 1 of the new namespaces: it makes them private, starts the program a last time,
// reaps whatever loses its parent, and ends, and everything with it, when the program ends.
func runInit() (int, error) {
	if os.Getpid() != 1 {
		return 0, errors.New("the init stage is not process 1: do not set " + stageVariable)
	}
	syscall.CloseOnExec(lifelineFD)
	if err := makePrivate(); err != nil {
		return 0, err
	}
	cmd := self(stageInside)
	cmd.Env = append(cmd.Env, "TMPDIR="+tempDir)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start inside the namespaces: %w", err)
	}
	stop := forwardSignals(cmd.Process.Signal)
	defer stop()

	finishedC := make(chan finished, 1)
	go func() { finishedC <- reapUntil(cmd.Process.Pid) }()
	select {
	case f := <-finishedC:
		return f.status, f.err
	case <-closed(os.NewFile(lifelineFD, "lifeline")):
		return 0, errors.New("the process that waited for the namespaces is gone")
	}
}

// closed returns a channel that is closed when the other end of the lifeline is.
func closed(lifeline *os.File) <-chan struct{} {
	closedC := make(chan struct{})
	go func() {
		_, _ = lifeline.Read(make([]byte, 1)) // Nothing is ever written: any return is the end.
		close(closedC)
	}()
	return closedC
}

// makePrivate gives the namespaces a /proc and /sys that show them, and a /run that vanishes with them.
// The host's /tmp stays: go test builds and logs there.
func makePrivate() error {
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV
	mounts := []struct {
		fstype, target, data string
		flags                uintptr
	}{
		{"", "/", "", syscall.MS_PRIVATE | syscall.MS_REC},
		{"proc", "/proc", "", flags},
		{"sysfs", "/sys", "", flags},
		{"tmpfs", "/run", "mode=0755", flags},
	}
	for _, m := range mounts {
		if err := syscall.Mount(m.fstype, m.target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s privately: %w", m.target, err)
		}
	}
	for _, dir := range []string{workDir, toolDir, tempDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	return prepareNetwork()
}

// finished is how the program inside ended.
type finished struct {
	status int
	err    error
}

// reapUntil collects every process that ends and returns how pid ended when it is among them.
func reapUntil(pid int) finished {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return finished{err: fmt.Errorf("reap: %w", err)}
		case ended == pid:
			return finished{status: exitStatus(status)}
		}
	}
}
