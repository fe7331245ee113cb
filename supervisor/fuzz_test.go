package supervisor

import (
	"encoding/json"
	"strings"
	"testing"

	"clockarbiter/integration/frugal"
)

func FuzzReadVerb(f *testing.F) {
	for _, seed := range []string{"reload\n", "reload", "reload now\n", "\n", "\x00\xff\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		frugal.Parse(t, len(said), func() {
			verb, err := readVerb(strings.NewReader(said))
			if err == nil && (strings.Contains(verb, "\n") || len(verb) > maxControlBytes || !strings.HasPrefix(said, verb+"\n")) {
				t.Errorf("%q is read as %q", said, verb)
			}
		})
	})
}

// FuzzStatus is what a client makes of an answer: another version's, or another program's.
func FuzzStatus(f *testing.F) {
	st, _ := lockedStatus()
	text, err := json.Marshal(st)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"mode":1}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		frugal.Parse(t, len(answer), func() {
			st, err := decodeStatus(strings.NewReader(string(answer)))
			if err == nil {
				_ = st.line()
			}
		})
	})
}
