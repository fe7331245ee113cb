package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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
