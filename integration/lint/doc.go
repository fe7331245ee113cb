// Package lint holds the proof that the linter's rules bite: its test plants a violation of each in a
// module of its own and expects it to be named. There is nothing to import.
package lint
