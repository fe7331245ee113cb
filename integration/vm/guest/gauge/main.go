// Command gauge reads, in the test guest, how far the system clock is from the truth: a PHC that
// nobody adjusts. It reads clocks and adjusts none.
//
// Each line of output is "SECONDS OFFSET WINDOW BASE BOUND": CLOCK_MONOTONIC in seconds, true UTC -
// CLOCK_REALTIME in nanoseconds (positive: the system clock is slow), the reading's half-width in
// nanoseconds, CLOCK_REALTIME - CLOCK_MONOTONIC in nanoseconds, which only a step changes, and the kernel's
// maxerror in microseconds. With -other it prints how far another PHC is ahead of the first, in nanoseconds.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"clockarbiter/integration/vm/guest/leap"
)

func main() {
	device := flag.String("phc", "/dev/ptp0", "the PHC that has the true time, TAI")
	var utc leap.Scale
	utc.Flags()
	interval := flag.Duration("interval", time.Second, "between readings")
	count := flag.Int("count", 1, "how many readings; 0: until killed")
	other := flag.String("other", "", "another PHC, to compare with the first")
	flag.Parse()
	if *other != "" {
		if err := compare(*device, *other, &utc); err != nil {
			fmt.Fprintln(os.Stderr, "gauge:", err)
			os.Exit(1)
		}
		return
	}
	if err := measure(*device, &utc, *interval, *count); err != nil {
		fmt.Fprintln(os.Stderr, "gauge:", err)
		os.Exit(1)
	}
}

func measure(device string, utc *leap.Scale, interval time.Duration, count int) error {
	phc, err := unix.Open(device, unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", device, err)
	}
	w := bufio.NewWriter(os.Stdout)
	for n := 0; count == 0 || n < count; n++ {
		if n > 0 {
			time.Sleep(interval)
		}
		offset, window, err := read(phc, utc)
		if err != nil {
			return err
		}
		var kernel unix.Timex
		if _, err := unix.Adjtimex(&kernel); err != nil {
			return fmt.Errorf("read the kernel's clock: %w", err)
		}
		fmt.Fprintf(w, "%.6f %d %d %d %d\n", float64(clock(unix.CLOCK_MONOTONIC))/1e9, offset, window, stepped(), kernel.Maxerror)
		if err := w.Flush(); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// compare reads one PHC before and after the other, so that the rate of the system clock between them does
// not count.
func compare(device, other string, utc *leap.Scale) error {
	phc, err := unix.Open(device, unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", device, err)
	}
	second, err := unix.Open(other, unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", other, err)
	}
	var offsets [3]int64
	for i, fd := range []int{phc, second, phc} {
		if offsets[i], _, err = read(fd, utc); err != nil {
			return err
		}
	}
	_, err = fmt.Println(offsets[1] - (offsets[0]+offsets[2])/2)
	return err
}

// read compares the PHC with CLOCK_REALTIME: the reading with the narrowest window of several.
func read(phc int, utc *leap.Scale) (offset, window int64, err error) {
	const readings = 5
	o, err := unix.IoctlPtpSysOffsetExtended(phc, readings)
	if err != nil {
		return 0, 0, fmt.Errorf("read PHC: %w", err)
	}
	window = 1 << 62
	for _, t := range o.Ts[:min(int(o.Samples), readings)] {
		before, after := ns(t[0]), ns(t[2])
		if half := (after - before + 1) / 2; half >= 0 && half < window {
			window, offset = half, ns(t[1])-utc.Offset(ns(t[1]))-before-(after-before)/2
		}
	}
	return offset, window, nil
}

// stepped is CLOCK_REALTIME - CLOCK_MONOTONIC, which nothing but a step or a leap second changes. The
// two are read one after the other, so the smallest of several differences counts.
func stepped() int64 {
	const tries = 10
	least := int64(1) << 62
	for range tries {
		monotonic := clock(unix.CLOCK_MONOTONIC)
		least = min(least, clock(unix.CLOCK_REALTIME)-monotonic)
	}
	return least
}

func clock(id int32) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // every kernel has these clocks
	}
	return t.Nano()
}

func ns(t unix.PtpClockTime) int64 { return t.Sec*1e9 + int64(t.Nsec) }
