package clock

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/sources"
)

// The kernel's units and limits (include/linux/timex.h, kernel/time/ntp.c).
const (
	// nominalTick is the length of a tick of USER_HZ, 100 Hz, in microseconds. One microsecond more
	// makes the clock run 100 ppm faster.
	nominalTick = 10000
	ppbPerTick  = 100_000
	// freqScale is 2^-16 ppm, the unit of timex.freq, as units per ppb.
	freqScale = 65536.0 / 1000
	// maxFreqPPB is what timex.freq takes (MAXFREQ); beyond it the tick has to help.
	maxFreqPPB = 500_000
	// MaxFrequencyPPB is the largest frequency correction that a Kernel accepts, tick included. It
	// keeps the clock within the rate at which a move is told from a step.
	MaxFrequencyPPB = 1_000_000
	// maxTAI is the kernel's limit on TAI - UTC, in seconds (MAX_TAI_OFFSET).
	maxTAI = 100_000
	// phaseLimit is where maxerror stops and STA_UNSYNC is set (NTP_PHASE_LIMIT).
	phaseLimit = 16 * time.Second
	// maxErrorPPM is the rate at which the kernel grows maxerror (MAXFREQ).
	maxErrorPPM = 500
	// ownStatus are the status bits that the writer decides: all that can be written, which leaves
	// the PLL, the FLL and the PPS disciplines off.
	ownStatus = unix.STA_PLL | unix.STA_PPSFREQ | unix.STA_PPSTIME | unix.STA_FLL | unix.STA_INS |
		unix.STA_DEL | unix.STA_UNSYNC | unix.STA_FREQHOLD
)

// RefusedError says which part of a command was refused. None of the command's parts was performed.
type RefusedError struct {
	Part string
	Err  error
}

func (e *RefusedError) Error() string { return fmt.Sprintf("apply %s: %v", e.Part, e.Err) }

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// timexOf converts a command to the one call of clock_adjtime that performs it. The error is a
// *RefusedError for what the kernel would not take, or would silently clamp.
func timexOf(c Command) (unix.Timex, error) {
	t := unix.Timex{
		Modes:  unix.ADJ_NANO | unix.ADJ_STATUS,
		Status: statusOf(c),
	}
	if c.Synchronised {
		// An unsynchronised clock keeps its growing error instead.
		t.Modes |= unix.ADJ_MAXERROR | unix.ADJ_ESTERROR
		t.Maxerror, t.Esterror = microsUp(c.MaxError), microsUp(c.EstError)
	}
	if ppb, ok := c.FreqPPB.Get(); ok {
		freq, tick, err := quantise(ppb)
		if err != nil {
			return unix.Timex{}, &RefusedError{Part: "frequency", Err: err}
		}
		t.Modes |= unix.ADJ_FREQUENCY | unix.ADJ_TICK
		t.Freq, t.Tick = freq, tick
	}
	if tai, ok := c.TAIOffset.Get(); ok {
		if tai < 0 || tai > maxTAI {
			return unix.Timex{}, &RefusedError{Part: "TAI offset", Err: fmt.Errorf("%d s is outside 0 to %d s", tai, maxTAI)}
		}
		t.Modes |= unix.ADJ_TAI
		t.Constant = int64(tai)
	}
	if step, ok := c.Step.Get(); ok && step != 0 {
		t.Modes |= unix.ADJ_SETOFFSET
		t.Time = timevalNano(step)
	}
	return t, nil
}

// statusOf returns the writable status bits of a command.
func statusOf(c Command) int32 {
	var s int32
	if !c.Synchronised {
		s |= unix.STA_UNSYNC
	}
	switch c.Leap {
	case sources.LeapInsert:
		s |= unix.STA_INS
	case sources.LeapDelete:
		s |= unix.STA_DEL
	}
	return s
}

// quantise splits a frequency into timex.freq (2^-16 ppm) and timex.tick (microseconds): the tick
// is left at its nominal length as long as freq suffices.
func quantise(ppb float64) (freq, tick int64, err error) {
	if math.IsNaN(ppb) || math.Abs(ppb) > MaxFrequencyPPB {
		return 0, 0, fmt.Errorf("%.3f ppm is outside +-%d ppm", ppb/1000, MaxFrequencyPPB/1000)
	}
	tick = nominalTick
	if math.Abs(ppb) > maxFreqPPB {
		ticks := math.Round(ppb / ppbPerTick)
		tick += int64(ticks)
		ppb -= ticks * ppbPerTick
	}
	return int64(math.Round(ppb * freqScale)), tick, nil
}

// frequency is the inverse of quantise, in ppb.
func frequency(freq, tick int64) float64 {
	return float64(freq)/freqScale + float64(tick-nominalTick)*ppbPerTick
}

// timevalNano converts a step for ADJ_SETOFFSET with ADJ_NANO: the second field is nanoseconds and
// never negative, so -1 ns is -1 s + 999999999 ns.
func timevalNano(step time.Duration) unix.Timeval {
	sec, ns := int64(step/time.Second), int64(step%time.Second)
	if ns < 0 {
		sec, ns = sec-1, ns+int64(time.Second)
	}
	return unix.Timeval{Sec: sec, Usec: ns}
}

// microsUp converts an error bound to the kernel's microseconds, never to a smaller one, and within
// the kernel's limit.
func microsUp(d time.Duration) int64 {
	d = min(max(d, 0), phaseLimit)
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}

// readingOf fills in what the kernel reports of the clock.
func readingOf(t unix.Timex) Reading {
	return Reading{
		FreqPPB:      frequency(t.Freq, t.Tick),
		TickMicros:   t.Tick,
		TAIOffset:    int(t.Tai),
		Synchronised: t.Status&unix.STA_UNSYNC == 0,
		MaxError:     time.Duration(t.Maxerror) * time.Microsecond,
		EstError:     time.Duration(t.Esterror) * time.Microsecond,
		Leap:         leapOf(t.Status),
	}
}

// leapOf returns the leap second of the status bits.
func leapOf(status int32) sources.Leap {
	switch {
	case status&unix.STA_INS != 0:
		return sources.LeapInsert
	case status&unix.STA_DEL != 0:
		return sources.LeapDelete
	default:
		return sources.LeapNone
	}
}

// foreignWrite compares the kernel's state with what the last write returned. It is absent when
// nobody else wrote, and allows for what the kernel does by itself: STA_UNSYNC once maxerror
// reaches its limit, and TAI - UTC at an armed leap second.
func foreignWrite(wrote, found unix.Timex) sources.Optional[ForeignWrite] {
	w := ForeignWrite{
		Freq:     Change{wrote.Freq, found.Freq},
		Tick:     Change{wrote.Tick, found.Tick},
		TAI:      Change{int64(wrote.Tai), int64(found.Tai)},
		Status:   Change{int64(wrote.Status & ownStatus), int64(found.Status & ownStatus)},
		Constant: Change{wrote.Constant, found.Constant},
		Offset:   Change{wrote.Offset, found.Offset},
	}
	if found.Maxerror >= phaseLimit.Microseconds() {
		w.Status.Wrote |= unix.STA_UNSYNC
		w.Status.Found |= unix.STA_UNSYNC
	}
	if leapt := w.TAI.Found - w.TAI.Wrote; leapt == 1 && wrote.Status&unix.STA_INS != 0 ||
		leapt == -1 && wrote.Status&unix.STA_DEL != 0 {
		w.TAI.Wrote = w.TAI.Found
	}
	if !w.differs() {
		return sources.None[ForeignWrite]()
	}
	return sources.Some(w)
}
