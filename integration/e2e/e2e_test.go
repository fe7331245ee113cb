package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"clockarbiter/integration/namespaces"
	"clockarbiter/integration/story"
	"clockarbiter/supervisor"
)

func TestMain(m *testing.M) { os.Exit(namespaces.Run(5*time.Minute, m.Run)) }

// begin builds the supervisor, without the race detector so that its size and speed are its own, and begins
// a story that fails the test when it does not end well.
func begin(t *testing.T, options story.Options) (context.Context, *story.Story) {
	t.Helper()
	options.Binary = filepath.Join(t.TempDir(), "clockarbiter")
	build := exec.Command("go", "build", "-o", options.Binary, "clockarbiter/cmd/clockarbiter")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the supervisor: %v\n%s", err, output)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	options.Audience = story.Audience{
		Chapter: func(title string) { t.Log(title) },
		Seen:    func(story.Point, supervisor.Status) {},
	}
	s, err := story.Begin(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.World.Report())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, s
}

// waitFor polls until missing returns "", and fails with what it returned last.
func waitFor(t *testing.T, limit time.Duration, missing func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		last := missing()
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still: %s", limit, last)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
