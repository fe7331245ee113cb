package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Mode is how the guest's time passes.
type Mode string

const (
	// Virtual time: the guest's clocks count instructions, idle time is skipped.
	Virtual Mode = "virtual"
	// Real time: as on any machine, and ssh works.
	Real Mode = "real"
)

const (
	bootLimit   = 10 * time.Minute // from power on to the agent's first answer, on a machine that is busy
	scriptLimit = 10 * time.Minute // of the machine's time, for any one script
)

// Guest is a running virtual machine. Not for concurrent use.
type Guest struct {
	mode    Mode
	dir     string
	cmd     *exec.Cmd
	exited  chan struct{}
	output  *bytes.Buffer // QEMU's own, complete once it exited
	monitor *monitor
	agent   *agent
	sshPort int
}

// Start starts a guest from the snapshot of a booted system, and makes that first where there is
// none. The guest is ended with the test.
func Start(t testing.TB, mode Mode) *Guest {
	t.Helper()
	b, err := findBuilds()
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := ensureSnapshot(b, mode)
	if err != nil {
		t.Fatal(err)
	}
	dir := socketDir(t)
	disk := filepath.Join(dir, "disk.qcow2")
	if err := copyFile(snapshot, disk); err != nil {
		t.Fatal(err)
	}
	g, err := launch(b, mode, dir, disk, "-loadvm", snapshotName)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		s := g.cmd.ProcessState
		t.Logf("guest: %v of a processor in %v", (s.UserTime() + s.SystemTime()).Round(time.Second), time.Since(began).Round(time.Second))
	})
	return g
}

// socketDir is a directory with a path short enough for sockets, removed with the test.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// launch starts QEMU and waits until the guest's agent answers.
func launch(b builds, mode Mode, dir, disk string, extra ...string) (*Guest, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	g := &Guest{mode: mode, dir: dir, sshPort: port, exited: make(chan struct{}), output: new(bytes.Buffer)}
	g.cmd = exec.Command(filepath.Join(b.qemu, "bin", "qemu-system-x86_64"), append(g.arguments(b, disk), extra...)...)
	g.cmd.Stdout, g.cmd.Stderr = g.output, g.output
	// No guest outlives its test, however that ends.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	go func() {
		_ = g.cmd.Wait() // its status says nothing that Stop and the output do not
		close(g.exited)
	}()
	if err := g.connect(); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

func (g *Guest) connect() (err error) {
	deadline := time.Now().Add(bootLimit)
	for g.monitor == nil || g.agent == nil {
		select {
		case <-g.exited:
			return fmt.Errorf("QEMU ended: %s", g.output)
		case <-time.After(20 * time.Millisecond):
		}
		if g.monitor == nil {
			g.monitor, err = dialMonitor(g.path("monitor"))
		}
		if g.agent == nil && g.monitor != nil {
			g.agent, err = dialAgent(g.path("agent"))
		}
		if err != nil && time.Now().After(deadline) {
			return err
		}
	}
	if _, _, err := g.agent.do(run("true"), g.resume, bootLimit); err != nil {
		return fmt.Errorf("%w\nconsole:\n%s", err, g.console())
	}
	return g.pause()
}

func (g *Guest) path(name string) string { return filepath.Join(g.dir, name) }

// arguments is QEMU's command line.
func (g *Guest) arguments(b builds, disk string) []string {
	const kernelArguments = "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off " +
		"random.trust_cpu=on systemd.show_status=false apparmor=1"
	args := []string{
		"-L", filepath.Join(b.qemu, "share"), "-machine", "q35,hpet=on", "-cpu", "max", "-smp", "1", "-m", "512",
		"-nodefaults", "-display", "none", "-no-reboot",
		"-rtc", "base=2026-06-01T12:00:00,clock=vm",
		"-serial", "file:" + g.path("console"),
		"-qmp", "unix:" + g.path("monitor") + ",server=on,wait=off",
		"-kernel", filepath.Join(b.guest, "vmlinux"), "-initrd", filepath.Join(b.guest, "initrd"), "-append", kernelArguments,
		"-drive", "if=none,id=disk,file=" + disk + ",format=qcow2,cache=unsafe", "-device", "virtio-blk-pci,drive=disk",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=agent,path=" + g.path("agent") + ",server=on,wait=off",
		"-device", "virtserialport,chardev=agent,name=harness",
		"-device", "virtio-rng-pci",
		"-netdev", fmt.Sprintf("user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:%d-:22", g.sshPort),
		"-device", "virtio-net-pci,netdev=management,mac=52:54:00:00:00:99,romfile=",
	}
	if g.mode == Virtual {
		args = append(args, "-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off")
	} else {
		args = append(args, "-accel", "tcg,thread=multi")
	}
	for port := 1; port <= 4; port++ {
		args = append(args, igb(port, (port+1)/2)...)
	}
	return args
}

// igb is one network card with a PHC behind a root port of its own, so that its name in the guest is
// enp<port>s0, on the wire with the given number.
func igb(port, wire int) []string {
	return []string{
		"-device", fmt.Sprintf("pcie-root-port,id=root%d,chassis=%d,slot=%d", port, port, port),
		"-netdev", fmt.Sprintf("hubport,id=port%d,hubid=%d", port, wire),
		"-device", fmt.Sprintf("igb,bus=root%d,netdev=port%d,mac=52:54:00:00:01:%02x,romfile=", port, port, port),
	}
}

// Run runs a shell script in the guest, with -e, and returns its output. It fails the test when the
// script does.
func (g *Guest) Run(t testing.TB, script string) string {
	t.Helper()
	out, status, err := g.Try(script)
	if err != nil {
		t.Fatalf("%v\nconsole:\n%s", err, g.console())
	}
	if status != 0 {
		t.Fatalf("exit status %d of\n%s\n%s", status, script, out)
	}
	return out
}

// Try runs a shell script in the guest, with -e, and returns its output and exit status.
func (g *Guest) Try(script string) (output string, status int, err error) {
	return g.do(run("set -e\n" + script))
}

// do has the guest's agent answer a request; the guest's time passes meanwhile.
func (g *Guest) do(request []byte) (output string, status int, err error) {
	output, status, err = g.agent.do(request, g.resume, scriptLimit)
	return output, status, errors.Join(err, g.pause())
}

// Sleep lets the guest's time pass.
func (g *Guest) Sleep(t testing.TB, d time.Duration) {
	t.Helper()
	g.Run(t, fmt.Sprintf("sleep %g", d.Seconds()))
}

// Put writes a file in the guest.
func (g *Guest) Put(t testing.TB, path string, mode uint32, content []byte) {
	t.Helper()
	if out, status, err := g.do(put(path, mode, content)); err != nil || status != 0 {
		t.Fatalf("put %s: %s (%v)", path, out, err)
	}
}

// PutFile copies a file of the machine into the guest.
func (g *Guest) PutFile(t testing.TB, path string, mode uint32, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	g.Put(t, path, mode, content)
}

// PutProgram builds a package of this module and copies it into the guest.
func (g *Guest) PutProgram(t testing.TB, path, pkg string) {
	t.Helper()
	program, err := builtProgram(t, pkg)
	if err != nil {
		t.Fatal(err)
	}
	g.PutFile(t, path, 0o755, program)
}

// pause stops the guest's time between scripts: idle, it would race ahead.
func (g *Guest) pause() error {
	if g.mode == Real {
		return nil
	}
	_, err := g.monitor.do("stop", nil)
	return err
}

func (g *Guest) resume() error {
	if g.mode == Real {
		return nil
	}
	_, err := g.monitor.do("cont", nil)
	return err
}

// console is what the guest's kernel said.
func (g *Guest) console() string {
	b, err := os.ReadFile(g.path("console"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Stop ends the guest like a power cut.
func (g *Guest) Stop() error {
	if err := g.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end QEMU: %w", err)
	}
	<-g.exited
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return strconv.Atoi(port)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	defer in.Close() // only read from
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}

// lines splits output into lines without the empty last one.
func lines(s string) []string {
	s = strings.TrimRight(s, "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
