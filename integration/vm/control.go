package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Control is a control host with Debian's Ansible and the repository's deploy directory: the build
// chroot, which reaches the guest with ssh.
type Control struct {
	root, dir string
}

// NewControl prepares the control host of a guest in real time. The program that the role installs is
// built from the source as it is.
func NewControl(t testing.TB, g *Guest) Control {
	t.Helper()
	if g.mode != Real {
		t.Fatal("ssh needs a guest in real time")
	}
	b, err := findBuilds()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(sourceDir(), "setup", "chroot.sh"), "path").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := Control{root: strings.TrimSpace(string(out))}
	if c.dir, err = os.MkdirTemp(filepath.Join(c.root, "tmp"), "control"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(c.dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.CopyFS(filepath.Join(c.dir, "deploy"), os.DirFS(filepath.Join(repositoryDir(), "deploy"))); err != nil {
		t.Fatal(err)
	}
	program, err := builtProgram(t, "./cmd/clockarbiter")
	if err == nil {
		err = copyFile(program, filepath.Join(c.dir, "clockarbiter"))
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(b.guest, "id"))
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, "id", key)
	c.write(t, "inventory", fmt.Appendf(nil, "guest ansible_host=127.0.0.1 ansible_port=%d ansible_user=root ansible_python_interpreter=/usr/bin/python3 "+
		"ansible_ssh_private_key_file=%s/id\n", g.sshPort, c.inside()))
	return c
}

// inside is the directory as the chroot sees it.
func (c Control) inside() string { return strings.TrimPrefix(c.dir, c.root) }

func (c Control) write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// inChroot mounts what Ansible needs of a system, in a mount namespace that ends with it.
const inChroot = `mount --make-rprivate / && mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && cd / && exec chroot "$1" /bin/sh -c "$2"`

// Play runs the role with these variables and further options of ansible-playbook, and returns what Ansible
// said, and its error.
func (c Control) Play(t testing.TB, vars map[string]any, options ...string) (output string, err error) {
	t.Helper()
	vars["clockarbiter_binary"] = c.inside() + "/clockarbiter"
	content, err := json.Marshal(vars)
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, "vars.json", content)
	command := fmt.Sprintf("cd %[1]s/deploy/ansible && exec env HOME=%[1]s LC_ALL=C.UTF-8 ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_HOST_KEY_CHECKING=0 ANSIBLE_TIMEOUT=60 "+
		"ansible-playbook -i %[1]s/inventory -e @%[1]s/vars.json %[2]s site.yml", c.inside(), strings.Join(options, " "))
	out, err := exec.Command("unshare", "-m", "sh", "-ec", inChroot, "sh", c.root, command).CombinedOutput()
	return string(out), err
}
