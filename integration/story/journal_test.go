package story

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheJournalReadsLinesHoweverTheyArriveAndKeepsWhatIsNotJSON(t *testing.T) {
	const log = `{"time":"2026-11-22T20:38:05.5Z","level":"INFO","msg":"Following ptp:gm:24","MESSAGE_ID":"bd34","pid":7}` +
		"\npanic: oh\n" + `{"time":"later","msg":"broken time"}` + "\nnot yet a line"
	want := []Entry{
		{
			Time: time.Date(2026, 11, 22, 20, 38, 5, 500e6, time.UTC), Level: "INFO", Message: "Following ptp:gm:24",
			Fields: map[string]string{"MESSAGE_ID": "bd34", "pid": "7"},
		},
		{Message: "panic: oh"},
		{Message: "broken time", Fields: map[string]string{}},
	}
	for _, piece := range []int{1, 7, len(log)} {
		j := &Journal{}
		for rest := []byte(log); len(rest) > 0; {
			n := min(piece, len(rest))
			if written, err := j.Write(rest[:n]); written != n || err != nil {
				t.Fatalf("wrote %d of %d bytes: %v", written, n, err)
			}
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, j.Entries()); diff != "" {
			t.Errorf("in pieces of %d (-want +got):\n%s", piece, diff)
		}
		if e := j.Entries(); !e[0].Decision() || e[1].Decision() {
			t.Error("an entry is a decision when it has a MESSAGE_ID")
		}
	}
}
