package vm_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/facebook/time/leaphash"

	"clockarbiter/integration/vm"
	"clockarbiter/supervisor"
)

// The status bits of adjtimex(2).
const (
	staInsert = 0x10
	staDelete = 0x20
	staUnsync = 0x40
)

// TestGuest: the guest's clocks are what the other tests believe of them.
func TestGuest(t *testing.T) {
	t.Parallel()
	g := vm.Start(t, vm.Virtual)
	w := vm.NewWorld(t, g, vm.WorldOptions{TruthPPB: ordinaryPPB, Behind: 10 * time.Millisecond, NTPServers: 1})
	trace := w.Measure(t, 20*time.Second)
	t.Log(trace)
	drift := trace[len(trace)-1].Error - trace[0].Error
	// The kernel knows its TSC's rate to a part per million or two.
	if want := 25 * 19 * time.Microsecond; (drift - want).Abs() > 40*time.Microsecond {
		t.Errorf("the truth gained %v on a free system clock in 19 s, want %v", drift, want)
	}
}

// tai is CLOCK_TAI - CLOCK_REALTIME in seconds.
func tai(t *testing.T, g *vm.Guest) int {
	t.Helper()
	out := strings.TrimSpace(g.Run(t, "python3 -c 'import time; print(round(time.clock_gettime(time.CLOCK_TAI) - time.clock_gettime(time.CLOCK_REALTIME)))'"))
	n, err := strconv.Atoi(out)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// forgetful ends holdover after a minute.
const forgetful = `
[arbiter]
holdover_max_time = "1m"
`

// TestKernelClock compares what clockarbiter says that it made of the kernel's clock with what adjtimex(8), the
// RTC and the truth say.
func TestKernelClock(t *testing.T) {
	t.Parallel()
	g := vm.Start(t, vm.Virtual)
	w := vm.NewWorld(t, g, ordinary)
	h := vm.Install(t, g, forgetful+hardwareA+threeNTP)
	g.Run(t, "hwclock --set --utc --date '2026-03-01 00:00:00'")
	if k := g.Kernel(t); k["status"]&staUnsync == 0 || tai(t, g) != 0 {
		t.Fatalf("before the start: kernel %v, TAI - UTC %d", k, tai(t, g))
	}
	w.StartTrace(t, 250*time.Millisecond)
	h.Start(t)
	h.Await(t, "locked to PTP", 2*time.Minute, vm.Following("ptp"))
	g.Sleep(t, 20*time.Second)
	start := w.CollectTrace(t)

	t.Run("step", func(t *testing.T) {
		if n := start.Steps(); n != 1 {
			t.Errorf("%d steps: %v", n, start)
		}
		moved := start[len(start)-1].Base - start[0].Base
		entries := h.Journal(t, supervisor.MessageStepped)
		if len(entries) != 1 {
			t.Fatalf("%d entries of steps", len(entries))
		}
		said, err := strconv.ParseInt(entries[0]["OFFSET_NS"], 10, 64)
		if err != nil || (moved-time.Duration(said)).Abs() > 2*time.Microsecond {
			t.Errorf("the kernel stepped by %v, the journal says %s ns (%v)", moved, entries[0]["OFFSET_NS"], err)
		}
	})
	t.Run("frequency, TAI, errors, status", func(t *testing.T) {
		k := g.Kernel(t)
		st := h.Await(t, "locked", time.Second, vm.Locked)
		ppb := frequencyPPB(k)
		if math.Abs(ppb-st.Clock.FreqPPB) > 200 || math.Abs(ppb-ordinaryPPB) > calibrationPPB || k["tick"] != 10000 {
			t.Errorf("frequency: kernel %.1f ppb (tick %d), status %.1f ppb, the truth %d ppb", ppb, k["tick"], st.Clock.FreqPPB, ordinaryPPB)
		}
		if n := tai(t, g); n != 37 || st.Clock.TAIOffset != 37 {
			t.Errorf("TAI - UTC: kernel %d, status %d, want 37", n, st.Clock.TAIOffset)
		}
		if k["status"]&(staUnsync|staInsert|staDelete) != 0 || !st.Clock.Synchronised {
			t.Errorf("status: kernel %#x, synchronised %v", k["status"], st.Clock.Synchronised)
		}
		// The kernel adds 500 us at each of its seconds, between two of our writes.
		bound, said := time.Duration(k["maxerror"])*time.Microsecond, st.Clock.BoundNS.Or(0)
		if bound < said/2 || bound > said+said/2+502*time.Microsecond || k["esterror"] > k["maxerror"] {
			t.Errorf("maxerror %v, status %v, esterror %d us", bound, said, k["esterror"])
		}
	})
	t.Run("maxerror is kept", func(t *testing.T) { promised(t, w.Measure(t, 30*time.Second)) })
	t.Run("RTC", func(t *testing.T) {
		g.Run(t, `n=0
until d=$(($(date +%s) - $(cat /sys/class/rtc/rtc0/since_epoch))); [ $d -ge -1 ] && [ $d -le 1 ]; do
	n=$((n + 1)); [ $n -lt 72 ]; sleep 10
done`)
	})
	t.Run("unsynchronised", func(t *testing.T) {
		w.A().Kill(t)
		for n := range 3 {
			w.StopServing(t, n+1)
		}
		h.Await(t, "in holdover", 30*time.Second, mode("holdover"))
		if k := g.Kernel(t); k["status"]&staUnsync != 0 {
			t.Errorf("holdover: status %#x", k["status"])
		}
		h.Await(t, "free-running", 2*time.Minute, mode("free-running"))
		before := g.Kernel(t)
		g.Sleep(t, 20*time.Second)
		after := g.Kernel(t)
		// timedatectl looks at maxerror alone, and says yes for hours.
		if before["status"]&staUnsync == 0 {
			t.Errorf("free-running: status %#x", before["status"])
		}
		if grown := after["maxerror"] - before["maxerror"]; grown < 10_000 {
			t.Errorf("free-running: maxerror grew by %d us in 20 s, the kernel's rate is 500 ppm", grown)
		}
		// The kernel's clock jumps by some ten ns and back (clock/servo, TestAJumpLeavesTheRate), of which a
		// little is taken for a rate: 0.6 ppb was seen.
		if was, is := frequencyPPB(before), frequencyPPB(after); math.Abs(is-was) > 5 {
			t.Errorf("free-running: frequency %.2f ppb, then %.2f ppb", was, is)
		}
	})
}

// frequencyPPB is the frequency of a kernel clock that Guest.Kernel read.
func frequencyPPB(kernel map[string]int) float64 { return float64(kernel["frequency"]) * 1000 / 65536 }

func mode(m string) func(supervisor.Status) bool {
	return func(st supervisor.Status) bool { return st.Mode == m }
}

// promised holds that the error was never larger than the maxerror that applications read beside it.
func promised(t *testing.T, trace vm.Trace) {
	t.Helper()
	for _, r := range trace.Broken() {
		t.Errorf("at %v: true error %v, kernel's maxerror %v", r.At, r.Error, r.Bound)
	}
	byBound := func(a, b vm.Reading) int { return cmp.Compare(a.Bound, b.Bound) }
	t.Logf("maxerror %v to %v", slices.MinFunc(trace, byBound).Bound, slices.MaxFunc(trace, byBound).Bound)
}

// leapSecondInserted: the last second of the year is counted twice, on a clock that stays right.
func leapSecondInserted(t *testing.T) {
	leapSecond(t, time.Date(2026, 12, 31, 23, 58, 0, 0, time.UTC), 1, staInsert)
}

// leapSecondDeleted: the last second of June is left out.
func leapSecondDeleted(t *testing.T) {
	leapSecond(t, time.Date(2027, 6, 30, 23, 58, 0, 0, time.UTC), -1, staDelete)
}

// leapTable is a leap-seconds.list that knows of the world's leap second, as tzdata's would.
func leapTable(o vm.WorldOptions) []byte {
	const from1900 = 2_208_988_800
	midnight := o.Date.Truncate(24 * time.Hour).Add(24 * time.Hour)
	text := fmt.Sprintf("#$\t%d\n#@\t%d\n3692217600\t37\n%d\t%d\n", o.Date.Unix()+from1900, midnight.AddDate(0, 6, 0).Unix()+from1900,
		midnight.Unix()+from1900, 37+o.Leap)
	return []byte(text + "#h\t" + leaphash.Compute(text) + "\n")
}

// betweenTicks leaves out a reading that fell between midnight and the tick with which the kernel steps its clock, up
// to 4 ms later: until then the clock is a second off.
func betweenTicks(tr vm.Trace, leap time.Duration) vm.Trace {
	for i := 1; i < len(tr); i++ {
		stepped := (tr[i].Base - tr[i-1].Base).Abs() > time.Second/2
		if stepped && (tr[i-1].Error+leap).Abs() < byNTP {
			return slices.Delete(slices.Clone(tr), i-1, i)
		}
	}
	return tr
}

func leapSecond(t *testing.T, date time.Time, leap, flag int) {
	t.Helper()
	o := ordinary
	o.Date, o.Leap = date, leap
	g := vm.Start(t, vm.Virtual)
	g.Put(t, "/etc/leap-seconds.list", 0o644, leapTable(o))
	w, h := lockedIn(t, g, o, "[arbiter]\nleap_table = \"/etc/leap-seconds.list\"\n"+hardwareA+threeNTP, sourceA)
	if k := g.Kernel(t); k["status"]&(staInsert|staDelete) != flag {
		t.Errorf("on the day: kernel's status %#x, want %#x in it", k["status"], flag)
	}
	before := g.Monotonic(t)
	w.StartTrace(t, 250*time.Millisecond)
	clock := strings.TrimSpace(g.Run(t, "date -u +%FT%TZ"))
	now, err := time.Parse(time.RFC3339, clock)
	if err != nil {
		t.Fatal(err)
	}
	midnight := o.Date.Truncate(24 * time.Hour).Add(24 * time.Hour)
	if !now.Before(midnight.Add(-5 * time.Second)) {
		t.Fatalf("locked at %s only: too late for the leap second", clock)
	}
	g.Sleep(t, midnight.Sub(now)+time.Minute)
	h.Await(t, "locked to PTP", time.Minute, vm.Following("ptp"))
	trace := betweenTicks(w.CollectTrace(t), time.Duration(o.Leap)*time.Second)
	t.Log(trace)
	atMost(t, "true error over the leap second", trace.Max(), byNTP)
	moved := trace[len(trace)-1].Base - trace[0].Base
	if want := time.Duration(-o.Leap) * time.Second; trace.Steps() != 1 || (moved-want).Abs() > 2*time.Microsecond {
		t.Errorf("%d steps, %v in all, want %v at once", trace.Steps(), moved, want)
	}
	if n := tai(t, g); n != 37+o.Leap {
		t.Errorf("TAI - UTC is %d, want %d", n, 37+o.Leap)
	}
	if k := g.Kernel(t); k["status"]&(staInsert|staDelete|staUnsync) != 0 {
		t.Errorf("the day after: kernel's status %#x", k["status"])
	}
	if n := len(h.Journal(t, supervisor.MessageKernelMove)); n != 1 {
		t.Errorf("%d entries of the leap second", n)
	}
	unblamed(t, h)
	for _, id := range []supervisor.MessageID{supervisor.MessageStepped, supervisor.MessageForeignWrite, supervisor.MessageModeChanged, supervisor.MessageFaultRaised} {
		for _, e := range h.Journal(t, id) {
			if e.At(t) < before {
				continue
			}
			t.Logf("%v later: %s", (e.At(t) - before).Round(time.Millisecond), e["MESSAGE"])
			if id == supervisor.MessageStepped || id == supervisor.MessageForeignWrite || e["TO"] == "free-running" {
				t.Errorf("over the leap second: %s", e["MESSAGE"])
			}
		}
	}
}
