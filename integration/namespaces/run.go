package namespaces

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// stageVariable tells the copies of the program that Run starts which part they play.
const stageVariable = "CLOCKARBITER_NAMESPACES_STAGE"

// The stages, from the outside in. The program that the user started has none.
const (
	stageInit   = "init"
	stageInside = "inside"
)

// exitRefused is the exit status when the namespaces could not be made.
const exitRefused = 1

// Run runs inside in namespaces of its own and returns the exit status for os.Exit. It belongs into the
// first line of main or TestMain: the program is executed again with the same arguments, and only in
// that copy is inside called. Everything that the copy made has vanished when Run returns, and also
// when this process is killed, or when it has not finished after lifetime.
func Run(lifetime time.Duration, inside func() int) int {
	stage := os.Getenv(stageVariable)
	if err := os.Unsetenv(stageVariable); err != nil {
		return refuse(err)
	}
	switch stage {
	case stageInside:
		return inside()
	case stageInit:
		status, err := runInit()
		if err != nil {
			return refuse(err)
		}
		return status
	}
	status, err := runOutside(lifetime)
	if err != nil {
		return refuse(err)
	}
	return status
}

func refuse(err error) int {
	fmt.Fprintf(os.Stderr, "namespaces: %v\n", err)
	return exitRefused
}

// runOutside starts the init of the new namespaces and waits for it. It holds the write end of a pipe
// whose closing tells the init that nobody waits any more: the parent-death signal alone leaves a gap
// between clone and prctl.
func runOutside(lifetime time.Duration) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("network, mount and PID namespaces need root: run this as root, or under sudo")
	}
	// The parent-death signal is sent when the thread ends that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	lifeline, held, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("make lifeline: %w", err)
	}
	cmd := self(stageInit)
	cmd.ExtraFiles = []*os.File{lifeline}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		// A group of its own, so that an interrupt from the terminal arrives once: through us.
		Setpgid: true,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("enter namespaces: %w", err)
	}
	stop := forwardSignals(cmd.Process.Signal)
	defer stop()
	expire := time.AfterFunc(lifetime, func() {
		fmt.Fprintf(os.Stderr, "namespaces: not finished after %v, killed\n", lifetime)
		_ = cmd.Process.Kill() // It fails only when the child has just finished.
	})
	defer expire.Stop()
	waitErr := cmd.Wait()
	err = errors.Join(lifeline.Close(), held.Close())
	if exit := (*exec.ExitError)(nil); errors.As(waitErr, &exit) {
		return exitStatus(exit.Sys().(syscall.WaitStatus)), err
	}
	return 0, errors.Join(waitErr, err)
}

// self is this program again, with its arguments, in the given stage.
func self(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stageVariable+"="+stage)
	return cmd
}

// forwardSignals hands the signals that ask a program to end to send, until stop is called.
func forwardSignals(send func(os.Signal) error) (stop func()) {
	signalC := make(chan os.Signal, 8)
	signal.Notify(signalC, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	go func() {
		for s := range signalC {
			_ = send(s) // It fails only when the receiver has just finished.
		}
	}()
	return func() {
		signal.Stop(signalC)
		close(signalC)
	}
}

// exitStatus is the status as a shell would report it.
func exitStatus(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
