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

// TestLong tells the stories that only make test-vm has time for. The longest begins first: at the end it would leave a
// processor idle.
func TestLong(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-vm tells the long stories")
	}
	for _, story := range []struct {
		name string
		tell func(*testing.T)
	}{
		{"Ansible", ansible},
		{"HourWithoutSources", hourWithoutSources},
		{"TwoGrandmasters", twoGrandmasters},
		{"LeapSecondInserted", leapSecondInserted},
		{"LeapSecondDeleted", leapSecondDeleted},
		{"OnePHCTwoInterfaces", onePHCTwoInterfaces},
		{"Readiness", readiness},
		{"CallersAreNamed", callersAreNamed},
		{"LinkDown", linkDown},
		{"Enforce", enforce},
		{"ALeakingChildIsKilledAlone", aLeakingChildIsKilledAlone},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			story.tell(t)
		})
	}
}
