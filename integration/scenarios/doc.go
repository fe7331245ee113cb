// Package scenarios holds situations that the daemon must handle, one per file in testdata, and runs
// them through the simulator. A file says in its first lines what happens and what must come of it;
// the types of package sim document the tables. Beside the simulator's own [[assert]], a file
// has [[expect]] tables: which fault must be named when, what must not happen, how often the selection
// may change.
package scenarios
