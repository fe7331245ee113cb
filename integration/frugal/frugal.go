// Package frugal holds a parser to what one input may cost. For fuzz targets.
package frugal

import (
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
// memory, or 64 times the input where that is more, or ever so long. Nothing else may allocate meanwhile.
func Parse(t testing.TB, size int, parse func()) {
	t.Helper()
	before, begin := allocated(), time.Now()
	parse()
	if took := time.Since(begin); took > maxTime {
		t.Errorf("one input took %v", took)
	}
	// The runtime counts small objects a span at a time, so that a few kB of before may show up here.
	if got, limit := allocated()-before, uint64(max(MaxBytes, perByte*size)); got > limit {
		t.Errorf("one input of %d bytes allocated %d bytes, limit %d", size, got, limit)
	}
}

// allocated is how many bytes were ever allocated on the heap.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
