package state

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// saverVariable names the file that the test binary, run again, saves to until it is killed.
const saverVariable = "STATE_SAVER"

func TestMain(m *testing.M) {
	if path := os.Getenv(saverVariable); path != "" {
		for n := 1.0; ; n++ {
			s := saved
			s.FreqPPB = n
			if err := Save(path, s); err != nil {
				fmt.Fprintln(os.Stderr, err)
				syscall.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

func TestTheFileIsIntactAfterEachOf200SIGKILLs(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	rng := rand.New(rand.NewPCG(1, 2))
	written := 0
	for n := range 200 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{saverVariable + "=" + path}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.IntN(50_000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as it was meant to be
		switch s, err := Load(path); {
		case err == nil && s.FreqPPB >= 1:
			written++
		case errors.Is(err, fs.ErrNotExist) && written == 0:
		default:
			t.Fatalf("after SIGKILL %d: %+v, %v", n, s, err)
		}
	}
	if written < 50 {
		t.Errorf("only %d of 200 runs came to write", written)
	}
}
