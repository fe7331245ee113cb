package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/golden"

	"clockarbiter/arbiter"
	"clockarbiter/recording"
)

// fileIn returns the one recording of a directory.
func fileIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := recording.Files(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("recordings %v, %v", files, err)
	}
	return files[0]
}

// edited returns the path of a copy of a recording with one text in it replaced.
func edited(t *testing.T, path, old, replacement string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	gz, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("no %q in the recording", old)
	}
	out := filepath.Join(t.TempDir(), "edited.jsonl")
	if err := os.WriteFile(out, bytes.Replace(text, []byte(old), []byte(replacement), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReplayRepeatsARecording(t *testing.T) {
	file := fileIn(t, recordingOf(t, version, 60))
	out, err := command(t, "replay", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	golden.Assert(t, out, "replay.txt")
	out, err = command(t, "replay", "--json", file)
	var v recording.Verdict
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	if err != nil || v.Ticks != 60 || !v.Complete || v.Difference != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReplayNamesTheDecisionThatDiffers(t *testing.T) {
	file := edited(t, fileIn(t, recordingOf(t, version, 60)), `"number":31,"input":{"Now":1790000030000000000,"System":1`, `"number":31,"input":{"Now":1790000030000000000,"System":2`)
	out, err := command(t, "replay", file)
	if err == nil || errors.Is(err, errUsage) || !strings.Contains(out, "Decision boot-31 at 2026-09-21 14:13:50.000 came out otherwise") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReplayRefusesAnotherVersion(t *testing.T) {
	file := fileIn(t, recordingOf(t, "0.9", 20))
	out, err := command(t, "replay", file)
	if err == nil || !strings.Contains(out, "recorded by clockarbiter 0.9") || !strings.Contains(out, "--any-version") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := command(t, "replay", "--any-version", file); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReplayOfACutFile(t *testing.T) {
	whole := fileIn(t, recordingOf(t, version, 60))
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.jsonl.gz")
	if err := os.WriteFile(cut, data[:len(data)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "replay", cut)
	if err != nil || !strings.Contains(out, "the file was cut off after line") || !strings.Contains(out, "bit for bit") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReplayWithAnotherConfiguration(t *testing.T) {
	file := fileIn(t, recordingOf(t, version, 60))
	config := filepath.Join(t.TempDir(), "new.toml")
	text := "[[ntp.server]]\naddress = \"192.0.2.1\"\nnoselect = true\n[[ntp.server]]\naddress = \"192.0.2.2\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "replay", "--config", config, file)
	if err != nil || !strings.Contains(out, "The two differ, stretches") || !strings.Contains(out, "following ntp:192.0.2.2") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = command(t, "replay", "--json", "--config", config, file)
	var c recording.Comparison
	if err == nil {
		err = json.Unmarshal([]byte(out), &c)
	}
	if err != nil || len(c.Spans) == 0 || c.Verdict.Ticks != 60 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReplayWithTheRecordedConfigurationDiffersNowhere(t *testing.T) {
	file := fileIn(t, recordingOf(t, version, 60))
	config := filepath.Join(t.TempDir(), "same.toml")
	text := "[arbiter]\nmax_age = \"256s\"\n[[ntp.server]]\naddress = \"192.0.2.1\"\n[[ntp.server]]\naddress = \"192.0.2.2\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "replay", "--config", config, file)
	if err != nil || !strings.Contains(out, "decides the same throughout") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReplayOfWhatIsNoRecording(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  []string
		usage bool
		want  string
	}{
		{"junk", []string{junk}, false, "read recording"},
		{"no file", []string{junk + "x"}, true, "no such file"},
		{"none named", nil, true, "usage"},
		{"a broken configuration", []string{"--config", junk, fileIn(t, recordingOf(t, version, 5))}, true, "junk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := command(t, append([]string{"replay"}, c.args...)...)
			if err == nil || errors.Is(err, errUsage) != c.usage || !strings.Contains(out, c.want) {
				t.Errorf("%v\n%s\nwant %q", err, out, c.want)
			}
		})
	}
}

// The table is for people: its wording is kept here, its contents are recording's.
func TestComparisonForPeople(t *testing.T) {
	at := recordedFrom
	c := recording.Comparison{
		Verdict: recording.Verdict{Ticks: 1200, From: at, To: at.Add(5 * time.Minute), Lost: 3, Complete: true},
		Spans: []recording.Span{{
			From: at.Add(10 * time.Second), To: at.Add(72 * time.Second), ID: "boot-41",
			Recorded: recording.Stance{Mode: arbiter.Locked, Selected: "ptp:eth0:0", Faults: []string{}},
			Other: recording.Stance{
				Mode: arbiter.Holdover, Faults: []string{"jump of ptp:eth0:0"}, Rule: arbiter.RuleMinSources, Reason: "truechimers: 1, needed: 3",
			},
		}},
		Recorded: recording.Account{
			Followed: []recording.Share{{Name: "ptp:eth0:0", Time: 300 * time.Second}}, Modes: []recording.Share{{Name: "locked", Time: 300 * time.Second}},
			Steps: []recording.Jump{{At: at, Amount: -15 * time.Millisecond}},
		},
		Other: recording.Account{
			Followed: []recording.Share{{Name: "", Time: 62 * time.Second}, {Name: "ptp:eth0:0", Time: 238 * time.Second}},
			Modes:    []recording.Share{{Name: "holdover", Time: 62 * time.Second}, {Name: "locked", Time: 238 * time.Second}}, Switches: 2,
		},
	}
	var out bytes.Buffer
	printComparison(&out, c)
	golden.Assert(t, out.String(), "whatif.txt")
}
