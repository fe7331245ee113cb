// Package configs reads the TOML configuration strictly: an unknown key, a wrong type or a value
// out of range is an error that names file, line, key and allowed range, and all errors are
// reported at once. It never touches the host: a file that names interfaces or binaries that are
// not there is still a valid file.
package configs
