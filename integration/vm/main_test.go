package vm_test

import (
	"fmt"
	"os"
	"testing"

	"clockarbiter/integration/vm"
)

// enabled says that a test run may take minutes and a core: make test-vm sets it.
const enabled = "CLOCKARBITER_VM"

func TestMain(m *testing.M) {
	if os.Getenv(enabled) == "" {
		fmt.Println("virtual machine tests are not run: make test-vm runs them")
		os.Exit(0)
	}
	os.Exit(run(m))
}

// run keeps the guest's programs for all tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temporary directory harms nobody
	if err := os.Setenv(vm.ProgramsVariable, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// long leaves a story to make test-vm.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a long story: make test-vm runs it")
	}
}

// TestLong runs the two stories of minutes beside each other: the one that ended last would leave a processor idle.
func TestLong(t *testing.T) {
	long(t)
	t.Run("Ansible", ansible)
	t.Run("HourWithoutSources", hourWithoutSources)
}
