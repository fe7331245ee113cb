package clock

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"clockarbiter/sources"
)

var ignorePadding = cmpopts.IgnoreUnexported(unix.Timex{})

func TestTimexOf(t *testing.T) {
	const always = unix.ADJ_NANO | unix.ADJ_STATUS
	const errs = unix.ADJ_MAXERROR | unix.ADJ_ESTERROR
	const rate = unix.ADJ_FREQUENCY | unix.ADJ_TICK
	ppb, step, tai := sources.Some[float64], sources.Some[time.Duration], sources.Some[int]
	for _, c := range []struct {
		rule string
		in   Command
		want unix.Timex
	}{
		{"unsynchronised leaves the errors to the kernel", Command{MaxError: time.Second},
			unix.Timex{Modes: always, Status: unix.STA_UNSYNC}},
		{"synchronised publishes the errors, rounded up to a microsecond", Command{Synchronised: true, MaxError: 1, EstError: 2001},
			unix.Timex{Modes: always | errs, Maxerror: 1, Esterror: 3}},
		{"errors stay within the kernel's limit", Command{Synchronised: true, MaxError: time.Hour, EstError: -1},
			unix.Timex{Modes: always | errs, Maxerror: 16_000_000}},
		{"a positive frequency makes the clock faster: 1 ppm is 65536", Command{FreqPPB: ppb(1000)},
			unix.Timex{Modes: always | rate, Status: unix.STA_UNSYNC, Freq: 65536, Tick: 10000}},
		{"a negative frequency rounds to nearest", Command{FreqPPB: ppb(-40.01)},
			unix.Timex{Modes: always | rate, Status: unix.STA_UNSYNC, Freq: -2622, Tick: 10000}},
		{"500 ppm fits the frequency alone", Command{FreqPPB: ppb(500_000)},
			unix.Timex{Modes: always | rate, Status: unix.STA_UNSYNC, Freq: 32768000, Tick: 10000}},
		{"beyond 500 ppm the tick helps", Command{FreqPPB: ppb(-540_000)},
			unix.Timex{Modes: always | rate, Status: unix.STA_UNSYNC, Freq: -40 * 65536, Tick: 9995}},
		{"a forward step", Command{Step: step(1500 * time.Millisecond)},
			unix.Timex{Modes: always | unix.ADJ_SETOFFSET, Status: unix.STA_UNSYNC, Time: unix.Timeval{Sec: 1, Usec: 500_000_000}}},
		{"a backward step of 1 ns has nanoseconds that are not negative", Command{Step: step(-1)},
			unix.Timex{Modes: always | unix.ADJ_SETOFFSET, Status: unix.STA_UNSYNC, Time: unix.Timeval{Sec: -1, Usec: 999_999_999}}},
		{"a backward step of a whole second", Command{Step: step(-time.Second)},
			unix.Timex{Modes: always | unix.ADJ_SETOFFSET, Status: unix.STA_UNSYNC, Time: unix.Timeval{Sec: -1}}},
		{"a step of nothing is no step", Command{Step: step(0)},
			unix.Timex{Modes: always, Status: unix.STA_UNSYNC}},
		{"an inserted leap second", Command{Synchronised: true, Leap: sources.LeapInsert},
			unix.Timex{Modes: always | errs, Status: unix.STA_INS}},
		{"a deleted leap second", Command{Synchronised: true, Leap: sources.LeapDelete},
			unix.Timex{Modes: always | errs, Status: unix.STA_DEL}},
		{"TAI - UTC travels in constant", Command{TAIOffset: tai(37)},
			unix.Timex{Modes: always | unix.ADJ_TAI, Status: unix.STA_UNSYNC, Constant: 37}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got, err := timexOf(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, ignorePadding); diff != "" {
				t.Errorf("timex differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTimexOfRefuses(t *testing.T) {
	for _, c := range []struct {
		part string
		in   Command
	}{
		{"frequency", Command{FreqPPB: sources.Some(MaxFrequencyPPB + 1.0)}},
		{"frequency", Command{FreqPPB: sources.Some(math.Inf(-1))}},
		{"frequency", Command{FreqPPB: sources.Some(math.NaN())}},
		{"TAI offset", Command{TAIOffset: sources.Some(-1)}},
		{"TAI offset", Command{TAIOffset: sources.Some(maxTAI + 1)}},
	} {
		_, err := timexOf(c.in)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Part != c.part {
			t.Errorf("timexOf(%+v): error %v, want a refused %s", c.in, err, c.part)
		}
	}
}

func TestPropertyFrequencyIsReportedBackWithinHalfAQuantum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10000 {
		ppb := (rng.Float64()*2 - 1) * MaxFrequencyPPB
		freq, tick, err := quantise(ppb)
		if err != nil {
			t.Fatal(err)
		}
		if freq < -32768000 || freq > 32768000 {
			t.Fatalf("quantise(%v): freq %d is clamped by the kernel", ppb, freq)
		}
		if got := frequency(freq, tick); math.Abs(got-ppb) > 0.5/freqScale+1e-9 {
			t.Fatalf("quantise(%v) reads back as %v", ppb, got)
		}
	}
}

func TestReadingOf(t *testing.T) {
	got := readingOf(unix.Timex{Freq: -65536, Tick: 10001, Tai: 37, Status: unix.STA_NANO, Maxerror: 7, Esterror: 3})
	want := Reading{FreqPPB: 99_000, TickMicros: 10001, TAIOffset: 37, Synchronised: true,
		MaxError: 7 * time.Microsecond, EstError: 3 * time.Microsecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reading differs (-want +got):\n%s", diff)
	}
	if readingOf(unix.Timex{Status: unix.STA_UNSYNC}).Synchronised {
		t.Error("STA_UNSYNC reads as synchronised")
	}
}

func TestForeignWrite(t *testing.T) {
	wrote := unix.Timex{Freq: 100, Tick: 10000, Tai: 37, Status: unix.STA_NANO, Constant: 2}
	for _, c := range []struct {
		rule   string
		change func(wrote, found *unix.Timex)
		want   string // "" for none
	}{
		{"nothing changed", func(_, _ *unix.Timex) {}, ""},
		{"read-only status bits are the kernel's", func(_, f *unix.Timex) { f.Status = unix.STA_PPSSIGNAL }, ""},
		{"maxerror grows by itself", func(_, f *unix.Timex) { f.Maxerror = 5000 }, ""},
		{"the kernel gives up at 16 s", func(_, f *unix.Timex) { f.Maxerror, f.Status = 16_000_000, unix.STA_UNSYNC }, ""},
		{"the kernel counts an armed leap second", func(w, f *unix.Timex) { w.Status, f.Status, f.Tai = unix.STA_INS, unix.STA_INS, 38 }, ""},
		{"TAI without a leap second", func(_, f *unix.Timex) { f.Tai = 38 }, "tai 37 -> 38"},
		{"a leap second the wrong way", func(w, f *unix.Timex) { w.Status, f.Status, f.Tai = unix.STA_INS, unix.STA_INS, 36 }, "tai 37 -> 36"},
		{"unsynchronised below 16 s", func(_, f *unix.Timex) { f.Status = unix.STA_UNSYNC }, "status 0x0 -> 0x40"},
		{"frequency", func(_, f *unix.Timex) { f.Freq = -5 }, "freq 100 -> -5 (2^-16 ppm)"},
		{"tick", func(_, f *unix.Timex) { f.Tick = 10001 }, "tick 10000 -> 10001"},
		{"a PLL that somebody feeds", func(_, f *unix.Timex) { f.Status, f.Offset, f.Constant = unix.STA_PLL, 900, 6 },
			"status 0x0 -> 0x1, constant 2 -> 6, offset 0 -> 900"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w, f := wrote, wrote
			c.change(&w, &f)
			got, ok := foreignWrite(w, f).Get()
			if ok != (c.want != "") || ok && got.String() != c.want {
				t.Errorf("foreignWrite = %q, %v; want %q", got.String(), ok, c.want)
			}
		})
	}
}
