// Package configs reads the TOML configuration strictly: an unknown key, a wrong type or a value
// out of range is an error that names file, line, key and allowed range, and all errors are
// reported at once.
//
// The way of a file:
//
//	bytes -> TOML tree + line of every key (lines.go) -> Config with defaults (decode.go, by the
//	rules of schema.go) -> contradictions between keys (validate.go, reserved.go) -> Config
//
// It never touches the host: a file that names interfaces, users or programs that are not there is
// still a valid file, so that it can be checked on another machine.
package configs
