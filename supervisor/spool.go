package supervisor

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// spoolLength is what waits at most for a reader that hangs: journald, the service manager, a terminal.
	spoolLength = 1024
	// spoolEnd is how long the end waits for what was not delivered.
	spoolEnd = 2 * time.Second
)

// spool delivers values in a goroutine of its own, in order, and never makes who hands them over wait: what
// finds it full is lost and counted. A write to journald or to a pipe has no bound of its own.
type spool[T any] struct {
	c       chan T
	deliver func(T)
	stop    chan struct{}
	done    chan struct{}
	lost    atomic.Uint64
	end     sync.Once
}

func newSpool[T any](length int, deliver func(T)) *spool[T] {
	s := &spool[T]{c: make(chan T, length), deliver: deliver, stop: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *spool[T]) run() {
	defer close(s.done)
	for {
		select {
		case v := <-s.c:
			s.deliver(v)
			continue
		case <-s.stop:
		}
		select {
		case v := <-s.c:
			s.deliver(v)
		default:
			return
		}
	}
}

// put hands a value over, or loses it and returns false.
func (s *spool[T]) put(v T) bool {
	select {
	case s.c <- v:
		return true
	default:
		s.lost.Add(1)
		return false
	}
}

// close waits a bounded time until all is delivered. What is put afterwards is lost.
func (s *spool[T]) close() {
	s.end.Do(func() { close(s.stop) })
	select {
	case <-s.done:
	case <-time.After(spoolEnd):
	}
}

// spooledJournal is a Journal that the control loop may write to.
type spooledJournal struct {
	*spool[Entry]
	journal Journal
}

func newSpooledJournal(j Journal, log *slog.Logger) *spooledJournal {
	s := &spooledJournal{journal: j}
	s.spool = newSpool(spoolLength, func(e Entry) {
		if err := j.Write(e); err != nil {
			log.Error("entry not written to the journal", "error", err, "message", e.Message)
		}
	})
	return s
}

// Write hands an entry over; its error says that the journal's reader hangs.
func (s *spooledJournal) Write(e Entry) error {
	if s.put(e) {
		return nil
	}
	return fmt.Errorf("the journal takes nothing: %d entries lost", s.lost.Load())
}

// LogWriter is a writer for log lines that never makes who logs wait: lines that find w hanging are lost.
type LogWriter struct{ *spool[[]byte] }

// NewLogWriter returns a writer to w. It has to be closed.
func NewLogWriter(w io.Writer) LogWriter {
	return LogWriter{newSpool(spoolLength, func(line []byte) {
		_, _ = w.Write(line) // where to would a failure of the log be logged
	})}
}

// Write hands a copy of one line over. It never fails.
func (w LogWriter) Write(line []byte) (int, error) {
	w.put(append([]byte(nil), line...))
	return len(line), nil
}

// Close waits a bounded time until all lines are written.
func (w LogWriter) Close() { w.close() }
