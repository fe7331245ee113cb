package process

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// middle is the place in the jitter at which the delay is the nominal one.
const middle = 0.5

func TestDelayDoublesFromMinToMax(t *testing.T) {
	b := Backoff{Min: 500 * time.Millisecond, Max: 30 * time.Second}
	var got []time.Duration
	for failures := 1; failures <= 9; failures++ {
		got = append(got, b.Delay(failures, middle))
	}
	want := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
		16 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := b.Delay(1_000_000_000, middle); got != 30*time.Second {
		t.Errorf("after a billion failures: %v", got)
	}
	if got := (Backoff{Min: time.Minute, Max: time.Second}).Delay(1, middle); got != time.Second {
		t.Errorf("Min above Max: %v, want Max", got)
	}
}

func TestDelayStaysWithinJitterAndUsesAllOfIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := Backoff{Min: 1 + rand.N(time.Second), Max: 1 + rand.N(100*time.Second)}
		failures := 1 + rng.IntN(70)
		nominal := float64(b.Delay(failures, middle))
		got := float64(b.Delay(failures, rng.Float64()))
		if got < 0.75*nominal-1 || got > 1.25*nominal+1 {
			t.Fatalf("%+v after %d failures: %v, nominal %v", b, failures, got, nominal)
		}
	}
	b := Backoff{Min: time.Second, Max: time.Minute}
	if low, high := b.Delay(1, 0), b.Delay(1, 0.999999); low != 750*time.Millisecond || high < 1249*time.Millisecond {
		t.Errorf("jitter is %v to %v, want 750ms to 1.25s", low, high)
	}
}

func TestHealthyTimeResetsFailures(t *testing.T) {
	b := Backoff{ResetAfter: time.Minute}
	for _, test := range []struct {
		before  int
		healthy time.Duration
		want    int
	}{
		{0, 0, 1},
		{4, 0, 5},
		{4, time.Minute - 1, 5},
		{4, time.Minute, 1},
		{4, time.Hour, 1},
	} {
		if got := b.Failures(test.before, test.healthy); got != test.want {
			t.Errorf("%d failures, then healthy for %v: %d, want %d", test.before, test.healthy, got, test.want)
		}
	}
}
