// Package frugal holds a parser to what one input may cost. For fuzz targets.
package frugal

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

const (
	// MaxBytes is what the parse of one input may allocate, whatever the input says of its size.
	MaxBytes = 1 << 20
	// perByte is what more it may be of an input that is large itself: a value of JSON becomes some values of Go.
	perByte = 64
	// maxTime is far above what any parser of ours takes, on a machine that does other things too.
	maxTime = 5 * time.Second
)

// Parse runs what one input of size bytes causes, and fails the test when that takes more than MaxBytes of
// memory, or 64 times the input where that is more, or ever so long. Nothing else may allocate meanwhile, and
// parse must do the same when it is run again.
func Parse(t testing.TB, size int, parse func()) {
	t.Helper()
	limit := uint64(max(MaxBytes, perByte*size))
	before, begin := roughly(), time.Now()
	parse()
	if took := time.Since(begin); took > maxTime {
		t.Errorf("one input took %v", took)
	}
	if roughly()-before <= limit {
		return
	}
	// At a collection the runtime counts what was allocated long before: only a second look, which stops the
	// world, is exact.
	exact := exactly()
	parse()
	if got := exactly() - exact; got > limit {
		t.Errorf("one input of %d bytes allocated %d bytes, limit %d", size, got, limit)
	}
}

// roughly is how many bytes were ever allocated on the heap, but for what each processor has not told yet.
func roughly() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// exactly is the same at a much higher price.
func exactly() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
