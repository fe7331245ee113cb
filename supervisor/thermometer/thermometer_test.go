package thermometer

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]float64{"42000\n": 42, "-5500": -5.5, "0\n": 0, " 123456 \n": 123.456} {
		if got, err := Parse([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %g, %v; want %g", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not a whole number", "warm\n": "not a whole number", "42.5": "not a whole number", "999999\n": "beyond", "-273150": "beyond",
		"99999999999999": "not a whole number", strings.Repeat("1", maxBytes+1): "more than a number",
	} {
		if got, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %g, %v; want %q", text, got, err, want)
		}
	}
}

func TestFailuresAreReportedOnceAndAReadingAfterThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "temp1_input")
	synctest.Test(t, func(t *testing.T) {
		var said []string
		th := New(path, func(error) { said = append(said, "failed") }, func(float64) { said = append(said, "worked") })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go th.Run(ctx)
		wait := func() {
			time.Sleep(3 * readEvery)
			synctest.Wait()
		}
		wait()
		if _, ok := th.Newest(); ok || th.Problem() == "" {
			t.Error("a file that is not there was read")
		}
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write("41000\n")
		wait()
		r, ok := th.Newest()
		if age := time.Since(r.At); !ok || r.Celsius != 41 || age > readEvery || th.Problem() != "" {
			t.Errorf("%+v, %v, %v old, %q", r, ok, age, th.Problem())
		}
		write("hot\n")
		wait()
		if r, _ := th.Newest(); time.Since(r.At) < 2*readEvery || th.Problem() == "" {
			t.Errorf("a reading that failed counts as one: %+v", r)
		}
		write("43000\n")
		wait()
		if want := []string{"failed", "worked", "failed", "worked"}; !slices.Equal(said, want) {
			t.Errorf("said %v, want %v", said, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("42000\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := Parse(text); err == nil && !(c >= coldest && c <= hottest) {
			t.Errorf("%q is %g", text, c)
		}
	})
}
