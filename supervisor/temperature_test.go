package supervisor

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/sources"
)

func TestTheSensorIsReadBesideTheLoopAndShown(t *testing.T) {
	r := newRig(t)
	if r.temperature().Present() || r.oscillatorStatus(arbiter.Decision{}).Sensor != "" {
		t.Error("a temperature without a sensor")
	}
	path := filepath.Join(t.TempDir(), "temp1_input")
	if err := os.WriteFile(path, []byte("41500\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.sensor = newSensor(path, r.record)
	if r.temperature().Present() {
		t.Error("a temperature before the first reading")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go r.sensor.Run(ctx)
	for until := time.Now().Add(10 * time.Second); !r.temperature().Present() && time.Now().Before(until); time.Sleep(time.Millisecond) {
	}
	r.run(5 * time.Second)
	st, _ := r.snapshot()
	if st.Oscillator.Sensor != path || math.Abs(st.Oscillator.Celsius.Or(0)-41.5) > 1e-9 || st.Oscillator.Problem != "" {
		t.Errorf("status %+v", st.Oscillator)
	}
	if got := r.journal.messages(MessageSensor); !contains(got, "41.5 degrees") {
		t.Errorf("journal %v", got)
	}
}

func TestTheCrystalOutlivesARestart(t *testing.T) {
	r := newRig(t)
	memory := r.memory(filepath.Join(t.TempDir(), "state"))
	want := arbiter.Crystal{PPBPerKelvin: -300, PPBPerKelvinSD: 5, AgeingPPBPerDay: 3, AgeingPPBPerDaySD: 1, Coldest: 20, Warmest: 41, Unexplained: 0.02, Learnt: r.at}
	d := arbiter.Decision{Mode: arbiter.Locked, At: r.at, Target: sources.Some(sources.Estimate{FreqPPB: 7, FreqSDPPB: 10})}
	memory.note(d, inheritance{crystal: sources.Some(want)})
	memory.save()
	if got := memory.load().crystal; !got.Is(want) {
		t.Errorf("taken up %+v, want %+v", got, want)
	}
	want.PPBPerKelvin = math.NaN()
	memory.note(d, inheritance{crystal: sources.Some(want)})
	memory.save()
	if left := memory.load(); left.crystal.Present() || !left.rate.Present() || memory.failed != "" {
		t.Errorf("a crystal that none can be: %+v, %s", left, memory.failed)
	}
}
