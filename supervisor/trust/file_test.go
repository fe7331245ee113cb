package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyWhatNobodyElseCanWriteIsTrusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("owners can only be set by root: run the tests as root")
	}
	const stranger = 65534
	for _, tc := range []struct {
		name          string
		file, dir     fs.FileMode
		owner, parent int
		writable      bool
	}{
		{name: "ours", file: 0o644, dir: 0o755},
		{name: "private", file: 0o600, dir: 0o700},
		{name: "writable by the group", file: 0o664, dir: 0o755, writable: true},
		{name: "writable by all", file: 0o646, dir: 0o755, writable: true},
		{name: "of somebody else", file: 0o600, dir: 0o755, owner: stranger, writable: true},
		{name: "in a directory writable by the group", file: 0o644, dir: 0o775, writable: true},
		{name: "in somebody else's directory", file: 0o644, dir: 0o755, parent: stranger, writable: true},
		{name: "in a directory with the sticky bit", file: 0o644, dir: 0o777 | fs.ModeSticky},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			path, link := filepath.Join(dir, "file"), filepath.Join(t.TempDir(), "link")
			for _, err := range []error{
				os.Mkdir(dir, 0o755), os.WriteFile(path, nil, 0o600), os.Symlink(path, link),
				os.Chmod(path, tc.file), os.Chmod(dir, tc.dir), os.Chown(path, tc.owner, 0), os.Chown(dir, tc.parent, 0),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range []string{path, link} {
				if err := File(p); errors.Is(err, ErrWritable) != tc.writable || err != nil && !tc.writable {
					t.Errorf("%s: %v, writable by others: %v", p, err, tc.writable)
				}
			}
		})
	}
	if err := File(t.TempDir()); err == nil {
		t.Error("a directory is trusted as a file")
	}
	if err := File(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Whoever can replace a directory or a link on the way can replace what is at its end.
func TestTheWholeWayIsTrustedOrNothing(t *testing.T) {
	const stranger = 65534
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string) error
		path  string
		want  bool // trusted
	}{
		{"nothing wrong", nil, "a/b/file", true},
		{"through a link", nil, "link/b/file", true},
		{"through a link with dots", nil, "dots/b/file", true},
		{"a directory above, writable by all", func(_ *testing.T, d string) error { return os.Chmod(d+"/a", 0o777) }, "a/b/file", false},
		{"the same through a link", func(_ *testing.T, d string) error { return os.Chmod(d+"/a", 0o777) }, "link/b/file", false},
		{"a directory above, sticky", func(_ *testing.T, d string) error { return os.Chmod(d+"/a", 0o777|fs.ModeSticky) }, "a/b/file", true},
		{"a directory above, of somebody else", func(_ *testing.T, d string) error { return os.Chown(d+"/a", stranger, 0) }, "a/b/file", false},
		{"a link of somebody else", func(_ *testing.T, d string) error { return os.Lchown(d+"/link", stranger, 0) }, "link/b/file", false},
		{"a way back behind a link", func(_ *testing.T, d string) error { return os.Symlink(d+"/a/b", d+"/deep") }, "deep/../../a/b/file", true},
		{"a way back that looks shorter than it is", func(_ *testing.T, d string) error {
			return errors.Join(os.Symlink(d+"/a/b", d+"/deep"), os.WriteFile(d+"/file", nil, 0o666), os.Chmod(d+"/file", 0o666), os.WriteFile(d+"/a/file", nil, 0o600))
		}, "deep/../file", true},
		{"a link to itself", func(_ *testing.T, d string) error { return os.Symlink("self", d+"/self") }, "self", false},
		{"a link to nothing", func(_ *testing.T, d string) error { return os.Symlink("none", d+"/dead") }, "dead", false},
	} {
		dir := t.TempDir()
		for _, err := range []error{
			os.MkdirAll(dir+"/a/b", 0o755), os.WriteFile(dir+"/a/b/file", nil, 0o600), os.Symlink(dir+"/a", dir+"/link"), os.Symlink("./a/../a", dir+"/dots"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if tc.spoil != nil {
			if err := tc.spoil(t, dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := File(dir + "/" + tc.path); (err == nil) != tc.want {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
