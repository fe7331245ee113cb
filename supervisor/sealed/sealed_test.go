package sealed

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clockarbiter/integration/frugal"
	"clockarbiter/supervisor/trust"
)

var form = Form{Magic: "test-file", Version: 3, MaxBytes: 256}

type contents struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

var good = contents{Name: "a", Value: 1.5}

func sealed(t testing.TB) []byte {
	t.Helper()
	data, err := form.Seal(good)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestNonsenseIsRefusedAndSaysWhy(t *testing.T) {
	data := sealed(t)
	with := func(body string) []byte { return form.Stamp(form.Version, []byte(body)) }
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not a test-file file"},
		{"another file", []byte("[clock]\n"), "not a test-file file"},
		{"another version", bytes.Replace(data, []byte(" 3 "), []byte(" 4 "), 1), `version "4"`},
		{"a changed figure", bytes.Replace(data, []byte("1.5"), []byte("1.6"), 1), "checksum"},
		{"cut", data[:len(data)-2], "checksum"},
		{"more at the end", append(bytes.Clone(data), 'x'), "checksum"},
		{"too large", make([]byte, 257), "larger"},
		{"no contents", with(""), "contents"},
		{"unknown field", with(`{"nam":"a"}`), "unknown field"},
		{"two values", with(`{}{}`), "more than one"},
		{"wrong type", with(`{"name":1}`), "contents"},
	} {
		var c contents
		if _, err := form.Open(tc.data, &c); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	var c contents
	if _, err := form.Open(data, &c); err != nil || c != good {
		t.Errorf("a good one: %+v, %v", c, err)
	}
	older := Form{Magic: form.Magic, Version: 4, Oldest: 2, MaxBytes: form.MaxBytes}
	for version, ok := range map[int]bool{1: false, 2: true, 3: true, 4: true, 5: false} {
		if got, err := older.Open(older.Stamp(version, []byte("{}")), &c); (err == nil) != ok || ok && got != version {
			t.Errorf("version %d: %d, %v", version, got, err)
		}
	}
	if _, err := form.Seal(strings.Repeat("x", 300)); err == nil {
		t.Error("more than a file may have is sealed")
	}
	if _, err := form.Seal(func() {}); err == nil {
		t.Error("what cannot be encoded is sealed")
	}
}

func TestAFileIsWholeOrAsItWas(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if _, err := form.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	for _, lasting := range []bool{true, false} {
		if err := Replace(path, sealed(t), lasting); err != nil {
			t.Fatal(err)
		}
		if data, err := form.Read(path); err != nil || !bytes.Equal(data, sealed(t)) {
			t.Errorf("read %q, %v", data, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left in the directory: %v", left)
	}
	if err := os.Mkdir(path+".new", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("x"), true); err == nil {
		t.Error("a file that cannot be written is no error")
	}
	if err := Replace(filepath.Join("/dev/full", "x"), nil, false); err == nil {
		t.Error("no directory is no error")
	}
	if data, err := form.Read(path); err != nil || !bytes.Equal(data, sealed(t)) {
		t.Errorf("after a failed write: %q, %v", data, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := form.Read(path); !errors.Is(err, trust.ErrWritable) {
		t.Errorf("a file that anybody can write: %v", err)
	}
}

func TestReadIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := form.Read(path); err != nil || len(data) != form.MaxBytes+1 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sealed(f))
	f.Add([]byte(`{"name":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range [][]byte{data, form.Stamp(form.Version, data)} {
			frugal.Parse(t, len(d), func() {
				var c contents
				if _, err := form.Open(d, &c); err != nil {
					return
				}
				again, err := form.Seal(c)
				if err != nil {
					return // the escapes take more than a file has
				}
				var d contents
				if _, err := form.Open(again, &d); err != nil || d != c {
					t.Errorf("%+v does not survive: %+v, %v", c, d, err)
				}
			})
		}
	})
}
