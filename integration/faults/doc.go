// Package faults hurts a running supervisor with real chronyd and ptp4l at random, and looks whether the
// clock stays right and nothing leaks. It needs root. There is nothing to import.
//
// The short form runs in `make test`; the long one is
//
//	go test ./integration/faults -timeout 1h -args -faults.for=30m
//
// Each run prints its seed, and -faults.seed repeats its choice of faults.
package faults
