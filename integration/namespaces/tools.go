package namespaces

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ToolsVariable names the environment variable that may hold a directory with unpacked packages, as
// scripts/tools.sh makes it.
const ToolsVariable = "CLOCKARBITER_TOOLS"

// Tool is a copy of a program that is as it would run anywhere: in a directory that every user may enter,
// which a checkout below /root is not, and at a path that no AppArmor profile of the host names.
func (w *World) Tool(name string) (string, error) {
	found, err := lookUp(name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(toolDir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	program, err := os.ReadFile(found)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, program, 0o755)
}

// lookUp finds a program in the directory of ToolsVariable, in PATH, or where Debian keeps daemons, which
// is not in every user's PATH.
func lookUp(name string) (string, error) {
	if dir := os.Getenv(ToolsVariable); dir != "" {
		if path, err := exec.LookPath(filepath.Join(dir, "usr/sbin", name)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(filepath.Join("/usr/sbin", name))
	if err != nil {
		return "", fmt.Errorf("find %s: %w (make tools sets it up)", name, err)
	}
	return path, nil
}

// withoutClock prefixes argv so that the program can never adjust a clock, whatever it is told: it runs
// without CAP_SYS_TIME and cannot get it back.
func withoutClock(argv ...string) []string {
	return append([]string{"setpriv", "--inh-caps=-sys_time", "--bounding-set=-sys_time"}, argv...)
}
