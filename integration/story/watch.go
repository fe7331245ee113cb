package story

import (
	"context"
	"errors"
	"sync"
	"time"

	"clockarbiter/supervisor"
)

const (
	// watchInterval is how often the supervisor is asked: more often than its control period, so that no
	// snapshot is missed.
	watchInterval = 100 * time.Millisecond
	// watchTimeout bounds one question.
	watchTimeout = time.Second
)

// watch keeps what the supervisor's status socket said.
type watch struct {
	socket string
	began  time.Time

	mu     sync.Mutex
	points []Point
	latest supervisor.Status
}

// run asks until ctx ends. A supervisor that does not answer, because it is only starting, is asked again.
func (w *watch) run(ctx context.Context, seen func(Point, supervisor.Status)) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		if p, status, err := w.ask(ctx); err == nil && w.add(&p, status) {
			seen(p, status)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

var errNoDecision = errors.New("the supervisor has not decided yet")

func (w *watch) ask(ctx context.Context) (Point, supervisor.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	status, err := supervisor.ReadStatus(ctx, w.socket)
	if err != nil {
		return Point{}, status, err
	}
	trueError, ok := status.Clock.HostMinusSteeredNS.Get()
	if !ok {
		return Point{}, status, errNoDecision
	}
	return Point{At: time.Since(w.began) - status.AgeNS, TrueError: trueError}, status, nil
}

// add keeps the snapshot and reports whether it is a new one. What the supervisor saw at the beginning of a
// control period is held against the bound that was published in the one before: the snapshot's own is of
// what it did then.
func (w *watch) add(p *Point, status supervisor.Status) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if status.At.Equal(w.latest.At) {
		return false
	}
	p.Bound = w.latest.Clock.BoundNS
	w.latest = status
	w.points = append(w.points, *p)
	return true
}

// status is the newest snapshot.
func (w *watch) status() supervisor.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

// since are the points from the instant on.
func (w *watch) since(from time.Duration) []Point {
	w.mu.Lock()
	defer w.mu.Unlock()
	return between(w.points, from, time.Since(w.began))
}
