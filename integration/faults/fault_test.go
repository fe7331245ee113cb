package faults

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fault is something that happens to the host; strike returns when it is over.
type fault struct {
	name   string
	strike func(*sea)
}

var faults = []fault{
	{"SIGKILL of chronyd", func(s *sea) { s.signal("chronyd", syscall.SIGKILL) }},
	{"SIGKILL of ptp4l", func(s *sea) { s.signal("ptp4l", syscall.SIGKILL) }},
	{"SIGSTOP of chronyd", func(s *sea) { s.freeze("chronyd") }},
	{"SIGSTOP of ptp4l", func(s *sea) { s.freeze("ptp4l") }},
	{"sockets of chronyd removed", func(s *sea) { s.removeSockets("chronyd") }},
	{"sockets of ptp4l removed", func(s *sea) { s.removeSockets("ptp4l-gm-0") }},
	{"interface flapped", func(s *sea) { s.ip("link set gm down"); s.wait(); s.ip("link set gm up") }},
	{"interface renamed", func(s *sea) { s.rename("gm", "other"); s.wait(); s.rename("other", "gm") }},
	{"grandmaster killed", func(s *sea) { s.must(s.gm.Kill()); s.wait(); s.must(s.gm.Start()) }},
	{"20 % loss to every NTP server", (*sea).lose},
	{"all children killed", func(s *sea) { s.signal("chronyd", syscall.SIGKILL); s.signal("ptp4l", syscall.SIGKILL) }},
	{"disk full", (*sea).fillDisk},
	{"disk full and chronyd killed", func(s *sea) { s.signal("chronyd", syscall.SIGKILL); s.fillDisk() }},
	{"stepped by a stranger", func(s *sea) { s.stranger("step %dns", s.either(100_000, 800_000)) }},
	{"slewed by a stranger", func(s *sea) { s.stranger("slew %d", s.either(1, 400)) }},
	{"frequency set by a stranger", func(s *sea) { s.stranger("frequency %d", s.either(1, 200)) }},
}

// wait lets a fault last.
func (s *sea) wait() { time.Sleep(time.Second + time.Duration(s.rng.Int64N(int64(3*time.Second)))) }

func (s *sea) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *sea) ip(words string) {
	s.t.Helper()
	if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		s.t.Fatalf("ip %s: %v: %s", words, err, out)
	}
}

func (s *sea) rename(from, to string) {
	s.ip("link set " + from + " down")
	s.ip("link set " + from + " name " + to)
	s.ip("link set " + to + " up")
}

// signal sends to a child, if it runs just now.
func (s *sea) signal(child string, sig syscall.Signal) {
	if pid := s.pid(child); pid != 0 {
		_ = syscall.Kill(pid, sig) // it may have ended by itself
	}
}

// freeze stops a child for a while. It may be another process afterwards: then the frozen one is gone.
func (s *sea) freeze(child string) {
	pid := s.pid(child)
	if pid == 0 {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	s.wait()
	s.wait()
	if s.pid(child) == pid {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// removeSockets removes every socket in the directory of a child, its own and ours.
func (s *sea) removeSockets(child string) {
	dir := filepath.Join(s.dir, "run", child)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it is being made anew
	}
	for _, e := range entries {
		if e.Type() == os.ModeSocket {
			_ = os.Remove(filepath.Join(dir, e.Name())) // its owner may be quicker
		}
	}
}

// lose loses a fifth of the time of the way to the NTP servers, at random.
func (s *sea) lose() {
	const slot, share = 50 * time.Millisecond, 0.2
	for begin := time.Now(); time.Since(begin) < 5*time.Second; {
		if s.rng.Float64() >= share {
			time.Sleep(slot)
			continue
		}
		for _, a := range s.addresses() {
			s.ip("route add blackhole " + a.String() + "/32")
		}
		time.Sleep(slot)
		for _, a := range s.addresses() {
			s.ip("route del blackhole " + a.String() + "/32")
		}
	}
}

// either is a number between least and most, of either sign.
func (s *sea) either(least, most int64) int64 {
	n := least + s.rng.Int64N(most-least)
	if s.rng.IntN(2) == 0 {
		return -n
	}
	return n
}

// noticedIn is how long a foreign slew may go unnoticed: one of 1 ppm; the figures for smaller ones are
// tested in simulated time.
const noticedIn = 10 * time.Second

// stranger writes to the virtual clock behind the supervisor's back, and waits until it has been noticed.
func (s *sea) stranger(order string, value int64) {
	s.t.Helper()
	before, err := s.status()
	s.must(err)
	conn, err := net.Dial("unixgram", filepath.Join(s.dir, "run", "stranger.sock"))
	s.must(err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, order, value)
	s.must(err)
	for begin := time.Now(); time.Since(begin) < noticedIn; time.Sleep(50 * time.Millisecond) {
		if now, err := s.status(); err == nil && now.Clock.ForeignWrites > before.Clock.ForeignWrites {
			return
		}
	}
	s.t.Errorf("nobody noticed within %v: "+order, noticedIn, value)
}

// smallDisk puts everything that the supervisor and its children write on a file system that can be filled.
func (s *sea) smallDisk() {
	s.t.Helper()
	s.must(syscall.Mount("tmpfs", s.dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755,size=48m"))
	s.t.Cleanup(func() { s.must(syscall.Unmount(s.dir, syscall.MNT_DETACH)) })
}

// fillDisk leaves not a byte for a while.
func (s *sea) fillDisk() {
	s.t.Helper()
	path := filepath.Join(s.dir, "filler")
	f, err := os.Create(path)
	s.must(err)
	for err == nil {
		_, err = f.Write(make([]byte, 1<<16))
	}
	for err = nil; err == nil; {
		_, err = f.Write([]byte{0})
	}
	if !errors.Is(err, syscall.ENOSPC) {
		s.t.Errorf("fill the disk: %v", err)
	}
	f.Close()
	s.wait()
	s.must(os.Remove(path))
}
