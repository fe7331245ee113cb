package process

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Exit is how one run of a child ended.
type Exit struct {
	// PID is the process that ended.
	PID int
	// Code is the exit status, where Signal is 0.
	Code int
	// Signal is the signal that ended the child; 0: it ended by itself.
	Signal unix.Signal
	// CoreDumped is true when the kernel wrote a core file.
	CoreDumped bool
	// Asked is true when the Runner had sent TERM before.
	Asked bool
	// Forced is true when the Runner had sent KILL, because the grace was over.
	Forced bool
	// OutOfMemory is true when the kernel killed it for exceeding its cgroup's memory.
	OutOfMemory bool
	// Ran is how long the child ran.
	Ran time.Duration
	// CPU is the processor time that the child and those that it waited for used.
	CPU time.Duration
	// MaxRSS is the largest resident set of the child or one that it waited for, in bytes.
	MaxRSS int64
	// Lines are the last lines of its output, oldest first.
	Lines []string
}

// newExit translates what wait4(2) returned.
func newExit(pid int, status unix.WaitStatus, usage *unix.Rusage, ran time.Duration) Exit {
	e := Exit{
		PID:    pid,
		Ran:    ran,
		CPU:    time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		MaxRSS: int64(usage.Maxrss) * 1024, //nolint:unconvert // 32 bits wide on some architectures
	}
	if status.Signaled() {
		e.Signal, e.CoreDumped = status.Signal(), status.CoreDump()
	} else {
		e.Code = status.ExitStatus()
	}
	return e
}

// String says in words how the child ended.
func (e Exit) String() string {
	words := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != 0 {
		words = "killed by " + unix.SignalName(e.Signal)
	}
	if e.CoreDumped {
		words += ", core dumped"
	}
	if e.OutOfMemory {
		words += ", above its memory limit"
	}
	switch {
	case e.Forced:
		words += ", did not stop within the grace"
	case e.Asked:
		words += ", as asked"
	}
	return words
}
