package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The builds in the cache. Each directory's name is a hash of what it was made from.
type builds struct {
	qemu  string // bin, lib, share
	guest string // root.ext4, initrd, vmlinux, id
}

// findBuilds returns the builds for the sources as they are. The error says how to make them.
func findBuilds() (builds, error) {
	var b builds
	for _, part := range []struct {
		script string
		path   *string
	}{{"qemu.sh", &b.qemu}, {"guest.sh", &b.guest}} {
		out, err := exec.Command(filepath.Join(sourceDir(), "setup", part.script), "path").Output()
		if err != nil {
			return builds{}, fmt.Errorf("ask %s for its build: %w", part.script, err)
		}
		*part.path = strings.TrimSpace(string(out))
		if _, err := os.Stat(filepath.Join(*part.path, "made")); err != nil {
			return builds{}, fmt.Errorf("%s is not built: run make vm-setup", *part.path)
		}
	}
	return b, nil
}

// sourceDir is integration/vm in the source tree.
func sourceDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

func repositoryDir() string { return filepath.Dir(filepath.Dir(sourceDir())) }

// ProgramsVariable names the environment variable with a directory in which the programs for the guest are kept
// from one test to the next; without it, each test builds them.
const ProgramsVariable = "CLOCKARBITER_VM_PROGRAMS"

// builtProgram returns the path of a package of this module, compiled for the guest.
func builtProgram(t testing.TB, pkg string) (string, error) {
	dir := os.Getenv(ProgramsVariable)
	if dir == "" {
		dir = t.TempDir()
	}
	path := filepath.Join(dir, filepath.Base(pkg))
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, buildProgram(pkg, path)
}

// buildProgram compiles a package of this module for the guest.
func buildProgram(pkg, to string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-o", to, pkg)
	cmd.Dir = repositoryDir()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}
