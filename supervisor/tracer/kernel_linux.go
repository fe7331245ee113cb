package tracer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

const (
	bufferBytes = 256 << 10
	maxPending  = 1024
	// initPIDNamespace is the inode of the host's PID namespace (PROC_PID_INIT_INO, linux/proc_ns.h).
	initPIDNamespace = 0xEFFFFFFC
)

// kernel is the programs in this host's kernel.
type kernel struct {
	parts  parts
	reader *ringbuf.Reader

	mu      sync.Mutex
	tracing []link.Link
	refusal []link.Link
}

// openKernel makes the maps that the programs share. Nothing is attached.
func openKernel() (programs, error) {
	if err := fit(); err != nil {
		return nil, err
	}
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoBTF, err)
	}
	k := &kernel{parts: parts{self: os.Getpid()}}
	if k.parts.offsets, err = readOffsets(spec); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&k.parts.callC, ebpf.MapSpec{Name: "calls", Type: ebpf.RingBuf, MaxEntries: bufferBytes}},
		{&k.parts.pending, ebpf.MapSpec{Name: "pending", Type: ebpf.Hash, KeySize: 8, ValueSize: recordLength, MaxEntries: maxPending}},
		{&k.parts.counters, ebpf.MapSpec{Name: "counters", Type: ebpf.Array, KeySize: 4, ValueSize: countersBytes, MaxEntries: 1}},
	} {
		if *m.to, err = ebpf.NewMap(&m.spec); err != nil {
			k.close()
			return nil, permission(fmt.Errorf("make the map %s: %w", m.spec.Name, err))
		}
	}
	if k.reader, err = ringbuf.NewReader(k.parts.callC); err != nil {
		k.close()
		return nil, fmt.Errorf("open the buffer of calls: %w", err)
	}
	return k, nil
}

// fit looks for what would make every load fail.
func fit() error {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err == nil && st.Ino != initPIDNamespace {
		return errNamespace
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); errors.Is(err, os.ErrNotExist) {
		return errNoBTF
	}
	held, err := capabilities()
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range []struct {
		name   string
		number uint
	}{{"CAP_BPF", unix.CAP_BPF}, {"CAP_PERFMON", unix.CAP_PERFMON}} {
		if held&(1<<c.number|1<<unix.CAP_SYS_ADMIN) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s missing", errCapabilities, strings.Join(missing, " and "))
	}
	return nil
}

func capabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return uint64(data[0].Effective) | uint64(data[1].Effective)<<32, nil
}

// permission marks what the kernel refused for lack of privilege.
func permission(err error) error {
	if errors.Is(err, unix.EPERM) { // EACCES is the verifier's
		return fmt.Errorf("%w: %w", errCapabilities, err)
	}
	return err
}

func (k *kernel) trace() (err error) {
	defer func() {
		if err != nil {
			closeAll(k.tracing)
			k.tracing = nil
		}
	}()
	// The exit first: it forgets what the entry keeps.
	for _, spec := range []*ebpf.ProgramSpec{k.parts.adjtimexExit(), k.parts.adjtimexEntry(), k.parts.setTimeExit()} {
		l, err := attach(spec, func(p *ebpf.Program) (link.Link, error) {
			return link.AttachTracing(link.TracingOptions{Program: p, AttachType: spec.AttachType})
		})
		if err != nil {
			return err
		}
		k.tracing = append(k.tracing, l)
	}
	return nil
}

// attach loads a program and puts it in its place. The link keeps it there.
func attach(spec *ebpf.ProgramSpec, to func(*ebpf.Program) (link.Link, error)) (link.Link, error) {
	p, err := ebpf.NewProgram(spec)
	if err != nil {
		return nil, permission(fmt.Errorf("load %s: %w", spec.Name, err))
	}
	defer p.Close()
	l, err := to(p)
	if err != nil {
		return nil, permission(fmt.Errorf("attach %s to %s: %w", spec.Name, spec.AttachTo, err))
	}
	return l, nil
}

func (k *kernel) enforce(on bool) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	closeAll(k.refusal)
	k.refusal = nil
	if !on {
		return nil
	}
	if err := hasLSM("/sys/kernel/security/lsm"); err != nil {
		return err
	}
	for _, spec := range []*ebpf.ProgramSpec{k.parts.capable(), k.parts.setTime()} {
		l, err := attach(spec, func(p *ebpf.Program) (link.Link, error) { return link.AttachLSM(link.LSMOptions{Program: p}) })
		if err != nil {
			closeAll(k.refusal)
			k.refusal = nil
			return err
		}
		k.refusal = append(k.refusal, l)
	}
	return nil
}

// hasLSM reads which security modules the kernel runs. Where that cannot be read, what the hook sees is
// the only answer.
func hasLSM(path string) error {
	text, err := os.ReadFile(path)
	if err == nil && !slices.Contains(strings.Split(strings.TrimSpace(string(text)), ","), "bpf") {
		return fmt.Errorf("%w: it runs %s", errNoLSM, strings.TrimSpace(string(text)))
	}
	return nil
}

// linked asks the kernel for each link.
func (k *kernel) linked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.refusal {
		if info, err := l.Info(); err != nil || info.Program == 0 {
			return false
		}
	}
	return len(k.refusal) > 0
}

func (k *kernel) counts() (counters, error) {
	var v [3]uint64
	if err := k.parts.counters.Lookup(uint32(0), &v); err != nil {
		return counters{}, fmt.Errorf("read the counters: %w", err)
	}
	return counters{lost: v[0], own: v[1], refused: v[2]}, nil
}

func (k *kernel) next() ([]byte, error) {
	r, err := k.reader.Read()
	if err != nil {
		return nil, fmt.Errorf("read calls: %w", err)
	}
	return r.RawSample, nil
}

func (k *kernel) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	closeAll(k.tracing)
	closeAll(k.refusal)
	k.tracing, k.refusal = nil, nil
	if k.reader != nil {
		k.reader.Close()
	}
	for _, m := range []*ebpf.Map{k.parts.callC, k.parts.pending, k.parts.counters} {
		if m != nil {
			m.Close()
		}
	}
}

func closeAll(links []link.Link) {
	for _, l := range links {
		l.Close()
	}
}
