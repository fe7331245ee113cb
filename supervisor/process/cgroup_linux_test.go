package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheUnifiedHierarchyIsFound(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/clockarbiter.service\n":      "/system.slice/clockarbiter.service",
		"12:pids:/x\n1:name=systemd:/y\n0::/z\n":       "/z",
		"12:pids:/x\n1:name=systemd:/system.slice/y\n": "",
		"": "",
	} {
		got, err := unifiedPath(text)
		if got != want || (want == "") != errors.Is(err, ErrNotDelegated) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestWhatIsNotDelegatedIsLeftAlone(t *testing.T) {
	if _, err := delegated(t.TempDir(), "/x", os.Getpid()); !errors.Is(err, ErrNotDelegated) {
		t.Errorf("a directory that is no cgroup: %v", err)
	}
	groups := temporary(t)
	mount := filepath.Dir(groups.dir)
	if _, err := delegated(mount, "/"+filepath.Base(groups.dir), os.Getpid()); !errors.Is(err, ErrNotDelegated) {
		t.Errorf("a cgroup that nobody has marked: %v", err)
	}
	if _, err := os.Stat(filepath.Join(groups.dir, ownGroup)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was used all the same: %v", err)
	}
}

// temporary is a subtree of this machine's unified hierarchy, without controllers, until the test ends.
func temporary(t *testing.T) *Cgroups {
	t.Helper()
	for _, mount := range []string{cgroupMount, cgroupMount + "/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(mount, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		c := &Cgroups{dir: filepath.Join(mount, fmt.Sprintf("clockarbiter-test-%d-%d", os.Getpid(), time.Now().UnixNano()))}
		if err := os.Mkdir(c.dir, 0o755); err != nil {
			t.Skipf("no cgroup can be made here (it takes root, and a writable %s): %v", mount, err)
		}
		t.Cleanup(func() {
			if err := unix.Rmdir(c.dir); err != nil {
				t.Errorf("cgroups are left: %v", err)
			}
		})
		return c
	}
	t.Skip("this machine has no unified hierarchy")
	return nil
}

func TestNoGrandchildEscapesACgroup(t *testing.T) {
	spec, options := fakeSpec("group/of\nits own", "daemon"), patient()
	options.Cgroups = temporary(t)
	tr := try(t, spec, options)
	var grandchild int
	if _, err := fmt.Sscanf(tr.awaitLine("grandchild"), "grandchild %d", &grandchild); err != nil {
		t.Fatal(err)
	}
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", grandchild))
	if err != nil || !strings.Contains(string(cgroup), "/child-group_of_its own\n") {
		t.Errorf("the grandchild is in %q, %v", cgroup, err)
	}
	tr.await(EventExited)
	eventually(t, time.Second, "the grandchild is dead", func() bool { return !alive(grandchild) })
	if err := tr.end(); err != nil {
		t.Error(err)
	}
}

// A group that an earlier run left, with a process in it, is no hindrance.
func TestALeftCgroupIsReplaced(t *testing.T) {
	groups := temporary(t)
	options := patient()
	options.Cgroups = groups
	left := try(t, fakeSpec("child", "sleep"), options)
	left.awaitLine("ready")
	pid := left.State().PID
	g, err := groups.enter("child", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "what was left is dead", func() bool { return !alive(pid) })
	left.cancel()
	if err := errors.Join(left.end(), g.remove(), g.remove()); err != nil {
		t.Error(err)
	}
}

func TestAMemoryLimitThatWasExceededIsSaid(t *testing.T) {
	g := &cgroup{dir: t.TempDir()}
	for text, want := range map[string]bool{"": false, "low 0\noom 1\noom_kill 0\n": false, "oom_kill 3\noom_group_kill 1\n": true} {
		if err := os.WriteFile(filepath.Join(g.dir, "memory.events"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := g.overrun(); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if got := (Exit{Signal: unix.SIGKILL, OutOfMemory: true}).String(); got != "killed by SIGKILL, above its memory limit" {
		t.Error(got)
	}
}

func TestACgroupGetsItsLimits(t *testing.T) {
	g := &cgroup{dir: t.TempDir()}
	if got := g.settings(Limits{MaxMemory: 5}); got != nil {
		t.Errorf("%v", got)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "memory.swap.max"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(g.settings(Limits{MaxGroupMemory: 1 << 20, MaxTasks: 7}))
	if want := "[{memory.oom.group 1} {memory.max 1048576} {memory.swap.max 0} {pids.max 7}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
