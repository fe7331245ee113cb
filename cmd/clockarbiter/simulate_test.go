package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func simulate(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"simulate"}, args...))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestSimulateGivesTheSameResultTwice(t *testing.T) {
	const scenario = "../../integration/sim/testdata/failover.toml"
	var runs [2]string
	for i := range runs {
		path := filepath.Join(t.TempDir(), "result.json")
		out, err := simulate(t, scenario, "--json", path)
		if err != nil || !strings.Contains(out, "every assertion holds") {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		runs[i] = out + string(data)
	}
	if runs[0] != runs[1] {
		t.Errorf("two runs of one scenario differ:\n%s\n%s", runs[0], runs[1])
	}
}

func TestSimulateFailsWhenAnAssertionDoesNotHold(t *testing.T) {
	data, err := os.ReadFile("../../integration/sim/testdata/failover.toml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "impossible.toml")
	impossible := string(data) + "\n[[assert]]\nfrom = \"4000s\"\nto = \"5400s\"\nmax_error = \"1ns\"\n"
	if err := os.WriteFile(path, []byte(impossible), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := simulate(t, path)
	if err == nil || errors.Is(err, errUsage) || !strings.Contains(out, "BROKEN") {
		t.Errorf("error %v, want one about the assertion\n%s", err, out)
	}
}

func TestSimulateNamesWhatIsWrongWithAScenario(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(path, []byte("nonsense = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := simulate(t, path); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v, want a usage error that names the key", err)
	}
}
