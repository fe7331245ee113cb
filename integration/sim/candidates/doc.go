// Package candidates holds the estimators that were measured against the daemon's own before it was
// chosen (docs/adr/0010-estimator.md), so that the comparison can be run again. The daemon never
// imports it.
package candidates
