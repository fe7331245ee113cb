// Command demo plays package story's story to a person: a real ptp4l, three real chronyd, the supervisor
// between them with a virtual clock, and what goes wrong. It prints the true error of each chapter against
// its limit and exits with 1 when one was missed. It adjusts no clock and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"clockarbiter/integration/namespaces"
	"clockarbiter/integration/story"
)

const (
	// storyLimit is how long the story may take, lifetime when the demo is killed at the latest.
	storyLimit = 2 * time.Minute
	lifetime   = storyLimit + 15*time.Second

	exitMissed      = 1
	exitInterrupted = 130
)

func main() { os.Exit(namespaces.Run(lifetime, demo)) }

// demo plays the story and returns the exit status.
func demo() int {
	binary := flag.String("clockarbiter", "bin/clockarbiter", "the supervisor's binary")
	flag.Parse()
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(interrupted, storyLimit)
	defer cancel()

	missed, err := play(ctx, *binary, newScreen(os.Stdout))
	switch {
	case interrupted.Err() != nil:
		fmt.Println("interrupted; nothing is left behind")
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return exitMissed
	case missed > 0:
		fmt.Printf("\n%d figure(s) missed their limit.\n", missed)
		return exitMissed
	}
	fmt.Println("\nEvery figure is within its limit. Nothing is left behind, and no clock of this machine was touched.")
	return 0
}

// play returns how many figures were missed.
func play(ctx context.Context, binary string, screen *screen) (missed int, err error) {
	binary, err = filepath.Abs(binary)
	if err != nil {
		return 0, err
	}
	s, err := story.Begin(ctx, story.Options{
		Binary:   binary,
		Tempo:    story.Tempo{Locked: 20 * time.Second, Aftermath: 3 * time.Second},
		Audience: story.Audience{Chapter: screen.chapter, Seen: screen.seen},
	})
	if err != nil {
		return 0, err
	}
	figures, err := s.Play(ctx)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, s.World.Report())
	}
	if err := errors.Join(err, s.End(), s.Close()); err != nil {
		return 0, err
	}
	screen.end(s.Journal().Entries(), figures)
	return len(story.Missed(figures)), nil
}
