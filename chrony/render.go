package chrony

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// FeedRefID is the reference ID of the system clock as chronyd's reference.
const FeedRefID = "SYS"

// feedPollLog2 is the poll interval of the reference clock in log2 seconds. With a sample every
// DefaultFeedInterval chronyd is synchronised about 1 s after its start instead of 4 s.
const feedPollLog2 = -2

// maxSocketPath is what sun_path holds, less its terminating zero (unix(7)).
const maxSocketPath = 107

// denseMinPoll is the poll interval at and below which chronyd is told to keep more samples: it
// forgets old ones when their residuals show a trend, and between two dumps there may be many.
const denseMinPoll = -3

// refused are the directives that Extra must not contain, with the reason.
var refused = map[string]string{
	"server": "servers belong in Servers, where noselect is added", "pool": "pools belong in Servers, where noselect is added",
	"peer":     "a peer could be selected and bend chronyd's clock",
	"refclock": "the only reference clock is the system clock", "local": "it would become a reference of its own",
	"manual": "it would become a reference of its own", "initstepslew": "it steers", "makestep": "it steers",
	"smoothtime": "served time would depart from the system clock", "rtcsync": "it writes to the kernel clock",
	"driftfile": "it would give chronyd's clock a frequency", "tempcomp": "it would give chronyd's clock a frequency",
	"leapsecmode": "leap seconds are ignored", "leapseclist": "leap seconds are ignored", "leapsectz": "leap seconds are ignored",
	"bindcmdaddress": "it is private", "cmdport": "it is private", "pidfile": "it is private", "dumpdir": "it is private",
	"dumponexit": "dumps are made on command", "user": "the user is set on the command line", "port": "the port is Port",
	"allow": "subnets belong in Allow", "keyfile": "the key file is KeyFile", "ntsdumpdir": "the directory is NTSDumpDir",
	"include": "included files are not checked", "confdir": "included files are not checked", "sourcedir": "included files are not checked",
	"minsamples": "it decides which samples are seen", "maxsamples": "it decides which samples are seen",
}

// Argv returns the command line. -x leaves the clock alone, -U starts without root, -d stays in the
// foreground and logs to standard error. -u is needed although the caller has switched user
// already: chronyd compares the owner of Dir with it, and switches nothing when it is not root.
func Argv(c Config) []string {
	argv := []string{c.Binary, "-x", "-U", "-d", "-f", c.ConfigFile()}
	if c.User != "" {
		argv = append(argv, "-u", c.User)
	}
	return argv
}

// Capabilities returns the capabilities that chronyd needs, by their names in capabilities(7):
// none, or CAP_NET_BIND_SERVICE when it serves on a port below 1024.
func Capabilities(c Config) []string {
	if c.Serves() && c.Port < 1024 {
		return []string{"CAP_NET_BIND_SERVICE"}
	}
	return nil
}

// Render returns chrony.conf, or every reason why it cannot be written. Values with a control
// character are among them: a line break would be a directive of its own.
func Render(c Config) (string, error) {
	if err := validate(c); err != nil {
		return "", fmt.Errorf("render chrony.conf: %w", err)
	}
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }

	line("# Written by clockarbiter at each start; edits are lost.")
	line("# chronyd measures and never steers: every server is noselect, the reference is the")
	line("# system clock itself, and chronyd runs with -x.")
	for _, s := range c.Servers {
		line(serverWords(s)...)
	}
	line(feedWords(c)...)
	line("leapsecmode ignore")
	line("dumpdir", c.DumpDir())
	line("pidfile", c.PIDFile())
	line("bindcmdaddress", c.CommandSocket())
	line("cmdport 0")
	if fastestPoll(c.Servers) <= denseMinPoll {
		line("minsamples 32")
	}
	if c.KeyFile != "" {
		line("keyfile", c.KeyFile)
	}
	if c.NTSDumpDir != "" {
		line("ntsdumpdir", c.NTSDumpDir)
	}
	renderService(c, line)
	for _, e := range c.Extra {
		line(e)
	}
	return b.String(), nil
}

// renderService writes which clients are served. Port 0 closes the server port, not the client's.
func renderService(c Config, line func(...string)) {
	if !c.Serves() {
		line("port 0")
		return
	}
	line("port", fmt.Sprint(c.Port))
	for _, subnet := range c.Allow {
		line("allow", subnet)
	}
}

// feedWords returns the reference clock's line. Its stratum is one less than what clients see. The
// precision is what a SOCK sample can carry, microseconds with a lossless offset.
func feedWords(c Config) []string {
	stratum := c.Stratum
	if stratum == 0 {
		stratum = DefaultStratum
	}
	return []string{"refclock SOCK", c.FeedSocket(), "refid", FeedRefID, "poll", fmt.Sprint(feedPollLog2),
		"filter 1 precision 1e-7 stratum", fmt.Sprint(stratum - 1)}
}

// serverWords returns one server's or pool's line; noselect stands last and is always there.
func serverWords(s Server) []string {
	w := []string{"server", s.Address}
	if s.Pool {
		w[0] = "pool"
	}
	add := func(on bool, option string, value ...any) {
		if on {
			w = append(w, strings.TrimSpace(option+" "+fmt.Sprint(value...)))
		}
	}
	add(s.Port != 0, "port", s.Port)
	if s.MinPoll != nil {
		add(true, "minpoll", *s.MinPoll)
	}
	if s.MaxPoll != nil {
		add(true, "maxpoll", *s.MaxPoll)
	}
	add(s.Pool && s.MaxSources != 0, "maxsources", s.MaxSources)
	add(s.IBurst, "iburst")
	add(s.XLeave, "xleave")
	add(s.NTS, "nts")
	if s.Key != nil {
		add(true, "key", *s.Key)
	}
	w = append(w, s.Options...)
	return append(w, "noselect")
}

// defaultMinPoll is chronyd's default, in log2 seconds.
const defaultMinPoll = 6

// fastestPoll returns the smallest minpoll of all servers, in log2 seconds.
func fastestPoll(servers []Server) int {
	fastest := defaultMinPoll
	for _, s := range servers {
		if s.MinPoll != nil {
			fastest = min(fastest, *s.MinPoll)
		}
	}
	return fastest
}

// validate returns everything that is wrong with c, joined.
func validate(c Config) error {
	var errs []error
	path := func(what, value string, required bool) {
		if value == "" && !required {
			return
		}
		if !filepath.IsAbs(value) || strings.ContainsFunc(value, notInWord) {
			errs = append(errs, fmt.Errorf("%s %q: want an absolute path without white space", what, value))
		}
	}
	path("directory", c.Dir, true)
	path("key file", c.KeyFile, false)
	path("NTS directory", c.NTSDumpDir, false)
	if n := len(c.FeedSocket()); n > maxSocketPath {
		errs = append(errs, fmt.Errorf("directory %q: %q has %d bytes, a Unix socket's path holds %d", c.Dir, c.FeedSocket(), n, maxSocketPath))
	}
	if strings.ContainsFunc(c.User, notInWord) || strings.HasPrefix(c.User, "-") {
		errs = append(errs, fmt.Errorf("user %q: not an account name", c.User))
	}
	if c.Port < 0 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d: want 0 to 65535", c.Port))
	}
	if c.Stratum < 0 || c.Stratum > 15 {
		errs = append(errs, fmt.Errorf("stratum %d: want 1 to 15", c.Stratum))
	}
	for _, subnet := range c.Allow {
		if strings.ContainsFunc(subnet, unicode.IsControl) {
			errs = append(errs, fmt.Errorf("allow %q: control character", subnet))
		}
	}
	for _, e := range c.Extra {
		errs = append(errs, validateExtra(e))
	}
	return errors.Join(append(errs, validateServers(c.Servers)...)...)
}

// validateServers also refuses two servers that could not be told apart.
func validateServers(servers []Server) []error {
	var errs []error
	var addresses, ids []string
	for _, s := range servers {
		if s.Address == "" || strings.ContainsFunc(s.Address, notInWord) {
			errs = append(errs, fmt.Errorf("server %q: want one host name or address", s.Address))
		}
		for _, o := range s.Options {
			if strings.ContainsFunc(o, unicode.IsControl) {
				errs = append(errs, fmt.Errorf("server %q: option %q: control character", s.Address, o))
			}
		}
		if a := strings.ToLower(s.Address); slices.Contains(addresses, a) {
			errs = append(errs, fmt.Errorf("server %q: configured twice", s.Address))
		} else {
			addresses = append(addresses, a)
		}
		if slices.Contains(ids, s.ID()) {
			errs = append(errs, fmt.Errorf("server %q: name %q is used twice", s.Address, s.Name))
		}
		ids = append(ids, s.ID())
	}
	return errs
}

// validateExtra refuses control characters and directives that would undo the measuring set-up.
// chronyd ignores the case of a directive.
func validateExtra(e string) error {
	if strings.ContainsFunc(e, unicode.IsControl) {
		return fmt.Errorf("directive %q: control character", e)
	}
	words := strings.Fields(strings.ToLower(e))
	if len(words) == 0 {
		return nil
	}
	if reason, ok := refused[words[0]]; ok {
		return fmt.Errorf("directive %q: refused: %s", words[0], reason)
	}
	return nil
}

// notInWord reports whether r would end a word, or the line, in chrony.conf.
func notInWord(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
