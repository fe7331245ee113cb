package recording

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// keep runs a scenario of n ticks through a recorder in dir.
func keep(t *testing.T, r *Recorder, seed uint64, n int) {
	t.Helper()
	s := newScenario(seed, func(e Entry) {
		switch {
		case e.Update != nil:
			r.Update(e.Update.Now, e.Update.update())
		case e.Order != nil:
			r.Order(e.Order.Plan, e.Order.Thresholds)
		case e.Table != nil:
			r.Table(e.Table.Leaps)
		case e.Tick != nil:
			r.Tick(e.Tick.Input, *e.Tick.Decision, e.Tick.Applied)
		}
	})
	s.before = func() {
		for len(r.queue) > 0 { // a file shall not grow while the next is asked for
			runtime.Gosched()
		}
		r.Keyframe(s.arbiter, s.roster)
	}
	s.run(n)
}

func begin(t *testing.T, o Options) *Recorder {
	t.Helper()
	o.Header = testHeader()
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	go r.Run()
	return r
}

func replayFile(t *testing.T, path string) Verdict {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Replay(r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEachRotatedFileReplaysForItself(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	r := begin(t, Options{Dir: dir, MaxSize: 50_000, Keep: 100})
	keep(t, r, 2, 800)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := Files(dir)
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, %v; want some", files, err)
	}
	ticks := uint64(0)
	for _, f := range files {
		v := replayFile(t, f)
		if v.Difference != nil || !v.Complete || v.Lost != 0 {
			t.Errorf("%s: %+v", f, v)
		}
		ticks += v.Ticks
	}
	if ticks != 800 || r.Stats().Lost != 0 {
		t.Errorf("%d ticks in %d files, %d lost; want 800, none lost", ticks, len(files), r.Stats().Lost)
	}
}

func TestOldFilesMakeRoom(t *testing.T) {
	dir := t.TempDir()
	r := begin(t, Options{Dir: dir, MaxSize: 15_000, Keep: 3})
	keep(t, r, 2, 1000)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
		if info.Mode().Perm() != fileMode {
			t.Errorf("%s has mode %v", f, info.Mode())
		}
	}
	// The last write into each file, at most a buffer, may exceed its size; with files this small, two
	// such can be more than all may take together, and the newest stays alone.
	if limit := int64(3*15_000 + 3*80_000); size > limit || len(files) == 0 {
		t.Errorf("%d files, %d bytes, limit %d", len(files), size, limit)
	}
	if n, _ := sequenceOf(files[0]); n == 1 {
		t.Error("the first file is still there")
	}
}

func TestShortFilesDoNotPushTheHistoryOut(t *testing.T) {
	dir := t.TempDir()
	for range 6 {
		r := begin(t, Options{Dir: dir, MaxSize: 1 << 20, Keep: 2})
		keep(t, r, 2, 20)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := Files(dir); err != nil || len(files) != 6 {
		t.Errorf("%d files, %v; want all 6", len(files), err)
	}
}

func TestAFullQueueCostsEntriesAndNeverTheReplay(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, MaxSize: 1 << 30, Keep: 2, Header: testHeader(), queue: 256}
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	s := newScenario(4, func(e Entry) {
		switch {
		case e.Update != nil:
			r.Update(e.Update.Now, e.Update.update())
		case e.Order != nil:
			r.Order(e.Order.Plan, e.Order.Thresholds)
		case e.Table != nil:
			r.Table(e.Table.Leaps)
		case e.Tick != nil:
			r.Tick(e.Tick.Input, *e.Tick.Decision, true)
		}
	})
	s.before = func() { r.Keyframe(s.arbiter, s.roster) }
	s.run(cap(r.queue)) // nobody writes: the queue runs over
	if r.Stats().Lost == 0 {
		t.Fatal("nothing was lost")
	}
	go r.Run()
	for len(r.queue) > 0 {
		time.Sleep(time.Millisecond)
	}
	s.run(100)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := Files(dir)
	v := replayFile(t, files[0])
	if lost := r.Stats().Lost; v.Difference != nil || !v.Complete || v.Lost != lost {
		t.Errorf("%+v; want %d lost and no difference", v, lost)
	}
}

func TestTheLoopNeverWaitsForTheDisk(t *testing.T) {
	r, err := Open(Options{Dir: t.TempDir(), MaxSize: 1 << 20, Keep: 2, Header: testHeader()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := newScenario(1, func(Entry) {})
		in := s.roster.Input(s.at, 0)
		d := s.arbiter.Step(in)
		for range 3 * queueLength {
			r.Keyframe(s.arbiter, s.roster)
			r.Tick(in, d, true)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits")
	}
}

func TestAFailureIsToldOnceAndRecordingReturns(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "recordings")
	synctest.Test(t, func(t *testing.T) {
		var told []error
		r := begin(t, Options{Dir: dir, MaxSize: 1 << 20, Keep: 2, Failed: func(err error) { told = append(told, err) }})
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s := newScenario(1, func(Entry) {})
		tick := func(n int) {
			for range n {
				r.Keyframe(s.arbiter, s.roster)
				in := s.roster.Input(s.at, 0)
				r.Tick(in, s.arbiter.Step(in), true)
				s.at = s.at.Add(time.Second)
				time.Sleep(time.Second)
			}
			synctest.Wait()
		}
		tick(3 * 60)
		if len(told) != 1 || !errors.Is(told[0], fs.ErrNotExist) {
			t.Errorf("told %v, want the missing directory once", told)
		}
		if st := r.Stats(); st.LastError == "" || st.Lost == 0 || st.File != "" {
			t.Errorf("stats of a failing recorder: %+v", st)
		}
		if err := os.Mkdir(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		tick(2 * 60)
		if st := r.Stats(); st.LastError != "" || st.File == "" {
			t.Errorf("stats once the directory is back: %+v", st)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
	files, _ := Files(dir)
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	if v := replayFile(t, files[0]); v.Difference != nil || !v.Complete || v.Ticks < 30 {
		t.Errorf("%+v", v)
	}
}

func TestDirectoriesThatOthersControlAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		make       func(path string) error
	}{
		{"writable by others", "chmod go-w", func(p string) error { return errors.Join(os.Mkdir(p, 0o755), os.Chmod(p, 0o777)) }},
		{"writable by the group", "chmod go-w", func(p string) error { return errors.Join(os.Mkdir(p, 0o755), os.Chmod(p, 0o770)) }},
		{"a link", "not a directory", func(p string) error { return os.Symlink(t.TempDir(), p) }},
		{"a file", "not a directory", func(p string) error { return os.WriteFile(p, nil, 0o600) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "recordings")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := Open(Options{Dir: path, Header: testHeader()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

func TestNoRecorderRecordsNothing(t *testing.T) {
	var r *Recorder
	s := newScenario(1, func(Entry) {})
	r.Keyframe(s.arbiter, s.roster)
	in := s.roster.Input(s.at, 0)
	r.Tick(in, s.arbiter.Step(in), true)
	r.Order(nil, s.cfg)
	if err := r.Close(); err != nil || r.Stats() != (Stats{}) {
		t.Errorf("close %v, stats %+v", err, r.Stats())
	}
}

func TestFindByIdentifierAndByTime(t *testing.T) {
	dir := t.TempDir()
	r := begin(t, Options{Dir: dir, MaxSize: 50_000, Keep: 100})
	keep(t, r, 2, 800)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := Files(dir)
	for _, n := range []uint64{1, 200, 500, 800} {
		found, err := FindID(files, testHeader().ID(n))
		if err != nil || found.Decision.Number > n || len(found.Input.Candidates) == 0 && n > 1 {
			t.Errorf("decision %d: found %s, %v", n, found.ID, err)
		}
		at := start.Add(time.Duration(n-1) * 250 * time.Millisecond)
		byTime, err := FindTime(files, at.Near())
		if err != nil || byTime.ID != found.ID {
			t.Errorf("at %v: found %s, %v; want %s", at.Near(), byTime.ID, err, found.ID)
		}
	}
	for _, id := range []string{"test-801", "other-5"} {
		if found, err := FindID(files, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %s, %v", id, found.ID, err)
		}
	}
	if _, err := FindTime(files, start.Add(-time.Second).Near()); !errors.Is(err, ErrNotFound) {
		t.Errorf("before the first: %v", err)
	}
	for _, id := range []string{"", "x", "x-", "-3", "x-y"} {
		if _, err := FindID(files, id); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
