package vm_test

import (
	"fmt"
	"os"
	"testing"
)

// enabled says that a test run may take minutes and a core: make test-vm sets it.
const enabled = "CLOCKARBITER_VM"

func TestMain(m *testing.M) {
	if os.Getenv(enabled) == "" {
		fmt.Println("virtual machine tests are not run: make test-vm runs them")
		os.Exit(0)
	}
	os.Exit(m.Run())
}
