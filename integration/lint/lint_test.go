package lint

import (
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// planted are files of a module that looks like ours, each with what the linter must say of it; "" for a
// file that is as it should be. Packages below apart/ are there only to keep the imports free of cycles.
var planted = []struct{ rule, file, source, want string }{
	{
		"the writer may write", "clock/kernel_linux.go",
		`import "golang.org/x/sys/unix"
		var _ = unix.ClockAdjtime`, "",
	},
	{
		"nobody else calls clock_adjtime", "clock/adjtime.go",
		`import "golang.org/x/sys/unix"
		var _ = unix.ClockAdjtime`, "single writer",
	},
	{
		"nor under another name", "supervisor/renamed.go",
		`import kernel "golang.org/x/sys/unix"
		var _ = kernel.Adjtimex`, "single writer",
	},
	{
		"nor clock_settime", "ptp/settime.go",
		`import "golang.org/x/sys/unix"
		var _ = unix.ClockSettime`, "single writer",
	},
	{
		"nor settimeofday of package syscall", "cmd/clockarbiter/main.go",
		`import "syscall"
		var _ = syscall.Settimeofday`, "single writer",
	},
	{
		"nor by number", "chrony/number.go",
		`import "golang.org/x/sys/unix"
		var _ = unix.SYS_CLOCK_ADJTIME`, "single writer",
	},
	{
		"nor in a test", "clock/adjtime_test.go",
		`import "syscall"
		var _ = syscall.Adjtimex`, "single writer",
	},
	{
		"nor a PHC's clock", "ptp/phc.go",
		`import "github.com/facebook/time/phc"
		func step(device *phc.Device) error { return device.Step(1) }
		var _ = step`, "single writer",
	},
	{
		"nor through a library that adjusts clocks", "clock/library.go",
		`import _ "github.com/facebook/time/clock"`, "single writer",
	},
	{
		"sources does no I/O", "sources/io.go",
		`import _ "os"`, "pure package",
	},
	{
		"arbiter logs nothing", "arbiter/log.go",
		`import _ "log/slog"`, "pure package",
	},
	{
		"arbiter has no context", "arbiter/context.go",
		`import _ "context"`, "pure package",
	},
	{
		"servo shares nothing", "clock/servo/share.go",
		`import _ "sync/atomic"`, "pure package",
	},
	{
		"timescale reads no clock", "clock/timescale/now.go",
		`import "time"
		var _ = time.Now`, "pure package",
	},
	{
		"arbiter does not wait", "arbiter/wait.go",
		`import "time"
		func wait() { time.Sleep(1) }
		var _ = wait`, "pure package",
	},
	{
		"shells read clocks", "supervisor/now.go",
		`import "time"
		var _ = time.Now`, "",
	},
	{
		"chrony does not import ptp", "chrony/engine.go",
		`import _ "clockarbiter/ptp"`, "import direction",
	},
	{
		"ptp does not import chrony", "apart/ptp/engine.go",
		`import _ "clockarbiter/chrony"`, "import direction",
	},
	{
		"arbiter imports sources", "arbiter/sources.go",
		`import _ "clockarbiter/sources"`, "",
	},
	{
		"arbiter does not import clock", "arbiter/clock.go",
		`import _ "clockarbiter/clock"`, "import direction",
	},
	{
		"the roster does no I/O", "arbiter/roster/io.go",
		`import _ "os"`, "pure package",
	},
	{
		"the roster does not import clock", "arbiter/roster/clock.go",
		`import _ "clockarbiter/clock"`, "import direction",
	},
	{
		"recording does not import configs", "recording/configs.go",
		`import _ "clockarbiter/configs"`, "import direction",
	},
	{
		"sources does not import arbiter", "apart/sources/arbiter.go",
		`import _ "clockarbiter/arbiter"`, "import direction",
	},
	{
		"supervisor does not import the simulator", "supervisor/sim.go",
		`import _ "clockarbiter/integration/sim"`, "import direction",
	},
	{
		"process knows nothing of ours", "supervisor/process/config.go",
		`import _ "clockarbiter/configs"`, "import direction",
	},
	{
		"configs imports nothing of ours", "configs/sources.go",
		`import _ "clockarbiter/sources"`, "import direction",
	},
	{
		"a program exits in main", "supervisor/exit.go",
		`import "os"
		func exit() { os.Exit(1) }
		var _ = exit`, "exit status",
	},
	{
		"an error is not dropped", "configs/drop.go",
		`import "os"
		func drop() { os.Remove("x") }
		var _ = drop`, "Error return value",
	},
	{
		"an exported name is documented", "configs/exported.go",
		`const Undocumented = 1`, "should have comment",
	},
	{
		"a function fits on a screen", "supervisor/long.go",
		"func long(x int) int {\n" + strings.Repeat("x++\n", 70) + "return x\n}\nvar _ = long", "too many statements",
	},
	{
		"code is formatted", "configs/format.go",
		`const   unformatted=1`, "not properly formatted",
	},
	{
		"there is no init", "supervisor/init.go",
		`func init() {}`, "don't use `init`",
	},
}

func TestEveryRuleBites(t *testing.T) {
	said := lint(t, plant(t))
	for _, p := range planted {
		t.Run(p.rule, func(t *testing.T) {
			var about []string
			for _, line := range said {
				if strings.HasPrefix(line, p.file+":") {
					about = append(about, line)
				}
			}
			switch {
			case p.want == "" && len(about) > 0:
				t.Errorf("the linter refuses what is right: %q", about)
			case p.want != "" && !strings.Contains(strings.Join(about, "\n"), p.want):
				t.Errorf("the linter says %q of %s, want %q", about, p.file, p.want)
			}
		})
	}
}

// plant writes the module with our own go.mod and .golangci.yml, and returns where it is.
func plant(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", ".golangci.yml"} {
		content, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(content))
	}
	for _, p := range planted {
		pkg := filepath.Base(filepath.Dir(p.file))
		if pkg == "clockarbiter" {
			pkg = "main"
		}
		source := "// Package " + pkg + " is planted.\npackage " + pkg + "\n\n" + p.source + "\n"
		if p.want != "not properly formatted" {
			formatted, err := format.Source([]byte(source))
			if err != nil {
				t.Fatalf("%s: %v", p.rule, err)
			}
			source = string(formatted)
		}
		write(t, filepath.Join(dir, p.file), source)
	}
	write(t, filepath.Join(dir, "integration/sim/doc.go"), "package sim\n")
	return dir
}

func write(t *testing.T, path, content string) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lint runs the pinned linter in dir and returns its lines. That it exits with an error is expected.
func lint(t *testing.T, dir string) []string {
	tools, err := filepath.Abs("../../tools/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "tool", "-modfile="+tools, "golangci-lint", "run", "--output.text.print-issued-lines=false")
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	t.Logf("%s", output)
	if err == nil {
		t.Error("the linter found nothing")
	}
	return strings.Split(string(output), "\n")
}
