package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clockarbiter/configs"
	"clockarbiter/recording"
	"clockarbiter/sources"
)

// taped is a rig whose loop is recorded in dir.
func taped(t *testing.T, dir string) (*rig, func()) {
	t.Helper()
	r := newRig(t)
	tape, err := recording.Open(recording.Options{
		Dir: dir, MaxSize: 1 << 30, Keep: 2, Header: recordingHeader(parse(t, rigConfig), "test", r.loop),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.tape = tape
	go tape.Run()
	return r, func() {
		t.Helper()
		if err := tape.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// openOnly opens the one recording of a directory.
func openOnly(t *testing.T, dir string) *recording.Reader {
	t.Helper()
	files, err := recording.Files(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("recordings %v, %v; want one", files, err)
	}
	file, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	r, err := recording.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// story plays what the recording tests look at: a start with a step, a lie, a loss, a reload, a return.
func story(t *testing.T, r *rig) {
	t.Helper()
	r.run(30 * time.Second)
	r.lie["ntp:192.0.2.1"] = 15 * time.Millisecond
	r.run(20 * time.Second)
	r.silent["ptp:veth0:0"] = true
	r.run(20 * time.Second)
	cfg := parse(t, rigConfig+"[arbiter]\nsettle = 6\n")
	r.adopt(order{plan: NewPlan(cfg, hostFacts()), arbiter: arbiterConfig(cfg)})
	r.silent["ptp:veth0:0"] = false
	r.run(40 * time.Second)
	for _, p := range r.plan.Sources {
		r.silent[p.ID] = true
	}
	r.run(20 * time.Second)
}

func TestARecordedLoopReplaysBitForBit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	r, stop := taped(t, dir)
	story(t, r)
	stop()
	v, err := recording.Replay(openOnly(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if v.Difference != nil {
		t.Fatalf("%s differs:\nreplayed %+v\nrecorded %+v", v.Difference.ID, v.Difference.Replayed, v.Difference.Recorded)
	}
	if want := uint64(130 * time.Second / r.interval); v.Ticks != want || !v.Complete || v.Lost != 0 {
		t.Errorf("%+v, want %d ticks", v, want)
	}
}

func TestEveryJournalledDecisionIsInTheRecording(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	r, stop := taped(t, dir)
	story(t, r)
	stop()
	files, err := recording.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, e := range r.journal.entries {
		if id := e.Fields["DECISION_ID"]; id != "" {
			ids[id] = true
		}
	}
	if len(ids) < 5 {
		t.Fatalf("%d decisions in the journal", len(ids))
	}
	for id := range ids {
		found, err := recording.FindID(files, id)
		if err != nil || found.ID != id || len(found.Input.Candidates) == 0 {
			t.Errorf("%s: found %q, %v", id, found.ID, err)
		}
	}
}

func TestWhatIfShowsAnotherConfiguration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	r, stop := taped(t, dir)
	r.run(60 * time.Second)
	stop()
	other := Arbitration(parse(t, strings.Replace(rigConfig, `name = "veth0"`, "name = \"veth0\"\nnoselect = true", 1)))
	c, err := recording.Compare(openOnly(t, dir), other)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Other.Followed {
		if s.Name == "ptp:veth0:0" {
			t.Errorf("a source with noselect is followed for %v", s.Time)
		}
	}
	if len(c.Spans) == 0 || c.Spans[len(c.Spans)-1].Recorded.Selected != "ptp:veth0:0" {
		t.Errorf("spans %+v", c.Spans)
	}
}

func TestARefusedDirectoryIsJournalledAndTheLoopGoesOn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	cfg := parse(t, rigConfig)
	cfg.Record = configs.Record{Enabled: true, Dir: dir, MaxSizeMiB: 1, Keep: 2}
	s := &Supervisor{cfg: cfg, record: r.record}
	defer s.startRecording(r.loop)()
	r.run(20 * time.Second)
	if got := r.journal.messages(MessageNotRecorded); len(got) != 1 || !contains(got, "chmod go-w") {
		t.Errorf("journal %v, want what is wrong and what to do, once", got)
	}
	r.expect(t, "locked", sources.ID("ptp:veth0:0"), time.Millisecond)
}

func TestStatusSaysWhetherDecisionsAreRecorded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	r, stop := taped(t, dir)
	r.run(time.Second)
	for deadline := time.Now().Add(10 * time.Second); r.tape.Stats().File == "" && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	r.run(time.Second)
	st, _ := r.snapshot()
	stop()
	if filepath.Dir(st.Recording.File) != dir || st.Recording.Lost != 0 || st.Recording.LastError != "" {
		t.Errorf("status of the recording %+v", st.Recording)
	}
}
