package tracer

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The kernel's verifier takes every program. Loading attaches nothing. A verifier that does not take one
// says EACCES or EINVAL with its log, and never EPERM.
func TestProgramsPassTheVerifier(t *testing.T) {
	p, err := openKernel()
	if err != nil {
		t.Skipf("this machine cannot load them: %s", remedy(err))
	}
	defer p.close()
	parts := p.(*kernel).parts
	for _, spec := range []*ebpf.ProgramSpec{parts.adjtimexEntry(), parts.adjtimexExit(), parts.setTimeExit(), parts.capable(), parts.setTime()} {
		prog, err := ebpf.NewProgram(spec)
		switch {
		case errors.Is(err, unix.EPERM):
			t.Skipf("this machine takes no such programs, as under kernel lockdown: %v; integration/vm runs this test in a guest", err)
		case err != nil:
			t.Errorf("%s: %+v", spec.Name, err)
		default:
			prog.Close()
		}
	}
}
