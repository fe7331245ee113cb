package state

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// saverVariable names the file that the test binary, run again, saves to until it is killed. It closes its standard output
// when it has saved once.
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
			if n == 1 {
				os.Stdout.Close()
			}
		}
	}
	os.Exit(m.Run())
}

func TestTheFileIsIntactAfterEachOf200SIGKILLs(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{saverVariable + "=" + path}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		saving, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(saving); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as it was meant to be
		if s, err := Load(path); err != nil || s.FreqPPB < 1 {
			t.Fatalf("after SIGKILL %d: %+v, %v", n, s, err)
		}
	}
}
