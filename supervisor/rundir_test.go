package supervisor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// asGroupMember names, in the environment, the directory in which the test's second process works.
const asGroupMember = "CLOCKARBITER_TEST_GROUP_MEMBER"

// The identities of the test: a supervisor that is not root, and a child's user whose group it is in.
const supervisorID, childID = 1501, 1502

// TestDirectoriesWithoutRoot: a supervisor that is not root lays a child's directory out by way of a group, and
// leaves one that was made for the child's user that user's.
func TestDirectoriesWithoutRoot(t *testing.T) {
	child := User{Name: "child", UID: childID, GID: childID}
	if dir := os.Getenv(asGroupMember); dir != "" {
		for _, name := range []string{"chronyd", "ptp4l-eth0"} {
			if err := layOut(Child{Name: name, Dir: filepath.Join(dir, name), User: child}); err != nil {
				t.Error(err)
			}
			file := filepath.Join(dir, name, "conf")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Error(err)
			}
			if err := give(file, child); err != nil {
				t.Error(err)
			}
		}
		if err := give(filepath.Join(dir, "chronyd"), User{Name: "other", UID: 1503, GID: 1503}); err == nil || !strings.Contains(err.Error(), "be in that group") {
			t.Errorf("to a user whose group we are not in: %v", err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("running as another user takes root")
	}
	dir, err := os.MkdirTemp("", "rundir") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	made := filepath.Join(dir, "chronyd")
	for _, err := range []error{
		os.Chown(dir, supervisorID, supervisorID), os.Chmod(dir, 0o755), os.Mkdir(made, 0o770), os.Chmod(made, 0o770), os.Chown(made, childID, childID),
		os.WriteFile(filepath.Join(made, "stale"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(copyOfTest(t, dir), "-test.run", "^TestDirectoriesWithoutRoot$")
	cmd.Env = append(os.Environ(), asGroupMember+"="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: supervisorID, Gid: supervisorID, Groups: []uint32{childID}}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for path, want := range map[string]string{
		"chronyd": "1502:1502 770", "chronyd/conf": "1501:1502 660", "ptp4l-eth0": "1501:1502 770", "ptp4l-eth0/conf": "1501:1502 660",
	} {
		st, err := os.Lstat(filepath.Join(dir, path))
		if err != nil {
			t.Error(err)
			continue
		}
		sys := st.Sys().(*syscall.Stat_t)
		got := strconv.Itoa(int(sys.Uid)) + ":" + strconv.Itoa(int(sys.Gid)) + " " + strconv.FormatUint(uint64(st.Mode().Perm()), 8)
		if got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(made, "stale")); err == nil {
		t.Error("what the last run left is still there")
	}
}

// copyOfTest is this program where every user may execute it.
func copyOfTest(t *testing.T, dir string) string {
	t.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "test")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOneSupervisorPerClock(t *testing.T) {
	name := "@clockarbiter-test/" + strconv.Itoa(os.Getpid())
	release, err := claimClock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = claimClock(t.Context(), name)
	if err == nil || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())+", uid ") || !strings.Contains(err.Error(), "supervisor.test") {
		t.Errorf("a second one: %v", err)
	}
	release()
	release, err = claimClock(t.Context(), name)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	release()
}
