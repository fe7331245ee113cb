// Package e2e holds the end-to-end tests: the supervisor's own binary with real ptp4l and chronyd in
// namespaces. They need root. There is nothing to import.
package e2e
