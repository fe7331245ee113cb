package recording

import (
	"reflect"
	"runtime/debug"
	"sync"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
)

// recorded are the types whose layout a file depends on.
func recorded() []reflect.Type {
	return []reflect.Type{
		reflect.TypeFor[arbiter.Arbiter](), reflect.TypeFor[roster.Roster](),
		reflect.TypeFor[arbiter.Input](), reflect.TypeFor[arbiter.Decision](),
	}
}

// Shape is a digest of the layout of everything that a keyframe or a digest holds. Its error names a
// field that cannot be recorded: a function, a channel, an interface.
func Shape() (string, error) { return shape() }

// shape describes the types once: they are those of this program.
var shape = sync.OnceValues(func() (string, error) {
	text := ""
	for _, t := range recorded() {
		one, err := layout(t, map[reflect.Type]bool{})
		if err != nil {
			return "", err
		}
		text += one
	}
	return digest([]byte(text)), nil
})

// Revision is the commit that this binary was built from, with a plus sign where the tree was modified;
// empty where the builder did not say.
func Revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + modified
}

// DigestOf is the digest of every field of a decision: two decisions with the same digest are the same
// bit for bit.
func DigestOf(d arbiter.Decision) string { return digest(encodeState(&d)) }

// NewKeyframe captures the state of both machines; lost counts the entries that are missing before it.
func NewKeyframe(a *arbiter.Arbiter, r *roster.Roster, lost uint64) *Keyframe {
	k := &Keyframe{Lost: lost, Arbiter: encodeState(a), Roster: encodeState(r)}
	k.Sum = k.sum()
	return k
}

func (k *Keyframe) sum() string { return digest(append(append([]byte{}, k.Arbiter...), k.Roster...)) }
