// Package thermometer reads a temperature that the kernel shows in a file, such as
// /sys/class/hwmon/hwmon0/temp1_input or /sys/class/thermal/thermal_zone0/temp: a whole number of
// thousandths of a degree Celsius (Documentation/hwmon/sysfs-interface.rst). A read may take as long as the bus
// behind it, so it is done by a goroutine of its own; whoever asks gets the newest reading at once.
package thermometer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// readEvery is the time between two readings: a crystal's temperature moves in minutes.
	readEvery = 2 * time.Second
	// maxBytes bounds a file, coldest and hottest a reading, in degrees Celsius.
	maxBytes         = 64
	coldest, hottest = -100.0, 200.0
)

// Reading is one reading with the time at which it was taken.
type Reading struct {
	Celsius float64
	At      time.Time
}

// Thermometer reads one file.
type Thermometer struct {
	path   string
	newest atomic.Pointer[Reading]
	fault  atomic.Pointer[string]
	// failed is told the first of a row of failures, worked the first reading after one.
	failed func(error)
	worked func(celsius float64)
}

// New returns a thermometer that has read nothing yet; Run has to be started. failed is told the first of a row
// of failures, worked the first reading of all and after failures, both by the goroutine of Run.
func New(path string, failed func(error), worked func(celsius float64)) *Thermometer {
	return &Thermometer{path: path, failed: failed, worked: worked}
}

// Newest returns the newest reading, false before the first. It never blocks, and may be called from any
// goroutine.
func (t *Thermometer) Newest() (Reading, bool) {
	r := t.newest.Load()
	if r == nil {
		return Reading{}, false
	}
	return *r, true
}

// Problem says why the newest look failed, empty where it did not.
func (t *Thermometer) Problem() string {
	if p := t.fault.Load(); p != nil {
		return *p
	}
	return ""
}

// Path is the file that is read.
func (t *Thermometer) Path() string { return t.path }

// Run reads until ctx is done.
func (t *Thermometer) Run(ctx context.Context) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		t.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (t *Thermometer) look() {
	celsius, err := read(t.path)
	before := t.fault.Load()
	if err != nil {
		text := err.Error()
		t.fault.Store(&text)
		if before == nil {
			t.failed(err)
		}
		return
	}
	first := t.newest.Load() == nil
	t.newest.Store(&Reading{Celsius: celsius, At: time.Now()})
	t.fault.Store(nil)
	if first || before != nil {
		t.worked(celsius)
	}
}

// read opens the file each time: a driver that is loaded again makes another one.
func read(path string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return 0, err
	}
	celsius, err := Parse(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return celsius, nil
}

// Parse reads the contents of a file and returns degrees Celsius. The error says what is wrong with them.
func Parse(text []byte) (float64, error) {
	if len(text) > maxBytes {
		return 0, errors.New("more than a number")
	}
	milli, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("not a whole number of thousandths of a degree: %q", text)
	}
	celsius := float64(milli) / 1000
	if celsius < coldest || celsius > hottest {
		return 0, fmt.Errorf("%g degrees Celsius is beyond %g to %g", celsius, coldest, hottest)
	}
	return celsius, nil
}
