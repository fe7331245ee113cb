package process

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// Spec says what a child is and what it is allowed. It is a value: a changed Spec is a new Runner.
type Spec struct {
	// Name names the child in the log, in events and in errors.
	Name string
	// Argv is the command line; Argv[0] is the absolute path of the program.
	Argv []string
	// Dir is the working directory, entered as the child's user. Empty: "/".
	Dir string
	// Env is the whole environment; nothing is inherited, so that NOTIFY_SOCKET and the like never
	// reach a child. Nil: a PATH of the system's directories and LC_ALL=C.
	Env []string
	// Credential is the identity that the child runs under.
	Credential Credential
	// Capabilities are all that the child holds, whatever its user; everything else leaves its
	// bounding set.
	Capabilities []Capability
	// Limits bound what the child may use up.
	Limits Limits
	// Prepare is called before every start: it writes what the child reads. Its error counts as a
	// start that went wrong. Nil: nothing to prepare.
	Prepare func() error
	// Grace is the time from TERM to KILL. 0: the Runner's Options.Grace.
	Grace time.Duration
}

// Credential is a user and a group by name or number; the child has no supplementary groups.
type Credential struct {
	// User is looked up at each start, because it may be created later. Empty: the supervisor's own
	// user and groups.
	User string
	// Group replaces the user's primary group. Empty: the primary group.
	Group string
}

// Limits are resource limits, soft and hard alike; 0 leaves the supervisor's own. A limit above the
// supervisor's own hard limit is lowered to that.
type Limits struct {
	// MaxMemory bounds the private writable memory in bytes (RLIMIT_DATA): allocation fails beyond it.
	MaxMemory uint64
	// MaxFiles bounds the number of open file descriptors (RLIMIT_NOFILE).
	MaxFiles uint64
	// MaxGroupMemory bounds the memory of the child and all that it starts, in bytes, and MaxTasks
	// the number of their threads. Both hold where the child has a cgroup of its own: beyond the first
	// all of it is killed.
	MaxGroupMemory uint64
	MaxTasks       uint64
}

// defaultEnv is the environment of a child whose Spec names none.
func defaultEnv() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
}

// Validate returns an error that names everything in s that no later start could cure; nil: none.
func (s Spec) Validate() error {
	var errs []error
	if s.Name == "" {
		errs = append(errs, errors.New("child has no name"))
	}
	if len(s.Argv) == 0 || !filepath.IsAbs(s.Argv[0]) {
		errs = append(errs, fmt.Errorf("command line %q must begin with the absolute path of a program", s.Argv))
	}
	if s.Dir != "" && !filepath.IsAbs(s.Dir) {
		errs = append(errs, fmt.Errorf("working directory %q must be an absolute path", s.Dir))
	}
	if s.Credential.User == "" && s.Credential.Group != "" {
		errs = append(errs, fmt.Errorf("group %q is given without a user", s.Credential.Group))
	}
	for _, text := range append(append([]string{}, s.Argv...), s.Env...) {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			errs = append(errs, fmt.Errorf("argument or variable %q must be UTF-8 without NUL", text))
		}
	}
	for _, c := range s.Capabilities {
		if _, err := c.number(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("child %q: %w", s.Name, errors.Join(errs...))
	}
	return nil
}
