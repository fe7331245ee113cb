package recording

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

const (
	// queueLength is some seconds of entries of 64 sources.
	queueLength = 4096
	// flushEvery bounds what a crash costs.
	flushEvery = 5 * time.Second
	// retryAfter is the pause after a failed write: a full disk is not asked again at every tick.
	retryAfter = time.Minute
	// closeTimeout bounds the wait for a disk that does not answer.
	closeTimeout = 2 * time.Second
)

// Options say where and how much is recorded.
type Options struct {
	// Dir holds the files. It is made where it is missing.
	Dir string
	// MaxSize is the size in compressed bytes at which the next file begins. The oldest files go
	// where there would be more than Keep of that size together.
	MaxSize int64
	Keep    int
	// Header is the first entry of each file; format, shape and sequence are filled in.
	Header Header
	// Failed is told the first of a row of failures, from the goroutine of Run; entries are lost
	// from then on until writing succeeds again.
	Failed func(error)

	queue int // length; 0: queueLength
}

// Recorder writes entries from a bounded queue. All methods but Stats belong to one goroutine, the
// control loop's, and none of them waits, except Close. A nil Recorder records nothing.
type Recorder struct {
	options Options
	folder  folder
	queue   chan Entry
	done    chan struct{}
	// due asks the control loop for a keyframe: a file begins with one.
	due atomic.Bool
	// begun tells that there was a keyframe: what comes before the first is part of it.
	begun bool
	// gap counts the entries that were dropped since the last that was taken.
	gap   uint64
	lost  atomic.Uint64
	file  atomic.Pointer[string]
	fault atomic.Pointer[string]
}

// Stats are for status.
type Stats struct {
	// File is being written, empty while there is none.
	File string `json:"file"`
	// Lost counts the entries that could not be written.
	Lost uint64 `json:"lost"`
	// LastError is why, empty while all is well.
	LastError string `json:"last_error"`
}

// Open prepares a recorder; Run has to be started. The error says why the directory is refused.
func Open(o Options) (*Recorder, error) {
	shape, err := Shape()
	if err != nil {
		return nil, err
	}
	o.Header.Format, o.Header.Shape = Format, shape
	dir, err := openFolder(o.Dir, o.MaxSize, max(o.Keep, 1))
	if err != nil {
		return nil, err
	}
	if o.queue == 0 {
		o.queue = queueLength
	}
	r := &Recorder{options: o, folder: dir, queue: make(chan Entry, o.queue), done: make(chan struct{})}
	r.due.Store(true)
	return r, nil
}

// Keyframe captures the state of both machines where one is asked for: at the start of a file, and after
// entries were lost. It is called between two steps.
func (r *Recorder) Keyframe(a *arbiter.Arbiter, s *roster.Roster) {
	if r == nil || !r.due.Load() && r.gap == 0 || len(r.queue) == cap(r.queue) {
		return
	}
	r.due.Store(false)
	if r.send(Entry{Keyframe: NewKeyframe(a, s, r.gap)}) {
		r.begun, r.gap = true, 0
	}
}

// Update records what the roster is about to take.
func (r *Recorder) Update(now timescale.Instant, u sources.Update) {
	if r == nil || len(u.Samples)+len(u.Reports) == 0 {
		return
	}
	r.put(Entry{Update: &Update{Now: now, Samples: u.Samples, Reports: u.Reports}})
}

// Order records another plan and other thresholds.
func (r *Recorder) Order(plan []roster.Planned, thresholds arbiter.Config) {
	if r != nil {
		r.put(Entry{Order: &Order{Plan: plan, Thresholds: thresholds}})
	}
}

// Expect records what new sources are told from now on.
func (r *Recorder) Expect(rate sources.Optional[sources.Rate]) {
	if r != nil {
		r.put(Entry{Expect: &Expect{Rate: rate}})
	}
}

// Table records the leap second table that is consulted from now on.
func (r *Recorder) Table(t arbiter.LeapTable) {
	if r != nil {
		r.put(Entry{Table: &Table{Leaps: t}})
	}
}

// Tick records a decision with its input; applied tells that the writer may act on it. Neither is
// changed by anybody from now on.
func (r *Recorder) Tick(in arbiter.Input, d arbiter.Decision, applied bool) {
	if r != nil {
		r.put(Entry{Tick: &Tick{Input: in, Decision: &d, Applied: applied}})
	}
}

// put sends what follows an unbroken row; after a gap only a keyframe makes sense of the rest.
func (r *Recorder) put(e Entry) {
	if !r.begun || r.gap == 0 && r.send(e) {
		return
	}
	r.gap++
	r.lost.Add(1)
}

func (r *Recorder) send(e Entry) bool {
	select {
	case r.queue <- e:
		return true
	default:
		return false
	}
}

// Stats may be called from any goroutine.
func (r *Recorder) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	s := Stats{Lost: r.lost.Load()}
	if p := r.file.Load(); p != nil {
		s.File = *p
	}
	if p := r.fault.Load(); p != nil {
		s.LastError = *p
	}
	return s
}

// Close ends the file in order and returns when Run has, or when the disk takes too long.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	close(r.queue)
	select {
	case <-r.done:
		return nil
	case <-time.After(closeTimeout):
		return errors.New("the recording could not be ended in time")
	}
}

// Run writes until Close.
func (r *Recorder) Run() {
	defer close(r.done)
	d := drum{recorder: r}
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for {
		select {
		case e, ok := <-r.queue:
			if !ok {
				d.end()
				return
			}
			d.write(e)
		case <-flush.C:
			d.flush()
		}
	}
}

// drum is the writing side: the file that is open, if any.
type drum struct {
	recorder *Recorder
	file     *os.File
	writer   *Writer
	retryAt  time.Time // zero while all is well
}

// write adds an entry to the file; a keyframe begins the next one where it is time.
func (d *drum) write(e Entry) {
	r := d.recorder
	if e.Keyframe != nil && (d.writer == nil || d.writer.Size() >= r.options.MaxSize) {
		d.rotate()
	}
	if d.writer == nil {
		r.lost.Add(1)
		return
	}
	if err := d.writer.Write(e); err != nil {
		d.fail(err)
		return
	}
	if d.writer.Size() >= r.options.MaxSize {
		r.due.Store(true)
	}
}

// rotate ends the file and begins the next. The old make room once the new one could be begun.
func (d *drum) rotate() {
	d.end()
	if err := d.begin(); err != nil {
		d.fail(err)
		return
	}
	name := d.file.Name()
	d.recorder.file.Store(&name)
	if err := d.recorder.folder.prune(); err != nil {
		d.fail(err)
	}
}

func (d *drum) begin() error {
	file, sequence, err := d.recorder.folder.create()
	if err != nil {
		return err
	}
	h := d.recorder.options.Header
	h.Sequence = sequence
	w, err := NewWriter(file, h)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	d.file, d.writer = file, w
	return nil
}

func (d *drum) flush() {
	if d.writer == nil {
		if !d.retryAt.IsZero() && time.Now().After(d.retryAt) {
			d.recorder.due.Store(true)
		}
		return
	}
	if err := d.writer.Flush(); err != nil {
		d.fail(err)
		return
	}
	d.retryAt = time.Time{}
	d.recorder.fault.Store(nil)
}

// fail gives the file up; what was written of it stays readable up to here.
func (d *drum) fail(err error) {
	r := d.recorder
	if d.retryAt.IsZero() && r.options.Failed != nil {
		r.options.Failed(err)
	}
	text := err.Error()
	r.fault.Store(&text)
	d.retryAt = time.Now().Add(retryAfter)
	if d.file != nil {
		d.file.Close()
	}
	d.file, d.writer = nil, nil
	r.file.Store(nil)
	r.lost.Add(1)
}

// end closes the file in order.
func (d *drum) end() {
	if d.writer == nil {
		return
	}
	err := errors.Join(d.writer.Close(), d.file.Close())
	d.file, d.writer = nil, nil
	d.recorder.file.Store(nil)
	if err != nil {
		d.fail(err)
	}
}
