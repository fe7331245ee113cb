package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"clockarbiter/supervisor/rivals"
)

// clockSocket is the name in the abstract namespace that the owner of CLOCK_REALTIME holds. It needs no
// directory, so that two supervisors with different run directories and users meet there, and the kernel
// drops it with its holder, however that ends. Containers with a network of their own do not see it:
// those are detected by what they write.
const clockSocket = "@clockarbiter/CLOCK_REALTIME"

// claimClock makes this process the one clockarbiter that steers the clock, or says who is it already.
func claimClock(ctx context.Context, name string) (release func(), err error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", name)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("the system clock is steered by another clockarbiter already (%s): stop it, or choose clock.driver = \"observe\"", holder(ctx, name))
	case err != nil:
		return nil, fmt.Errorf("claim the clock: %w", err)
	}
	return func() { ln.Close() }, nil
}

// holder names the process at the other end.
func holder(ctx context.Context, name string) string {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", name)
	if err != nil {
		return "it does not answer"
	}
	defer conn.Close()
	peer, err := peerOf(conn)
	if err != nil {
		return "it is not known which"
	}
	words := []string{fmt.Sprintf("pid %d, uid %d", peer.Pid, peer.Uid)}
	if id, err := rivals.Identify(os.DirFS("/proc"), int(peer.Pid)); err == nil {
		for _, word := range []string{id.Unit, id.Container, id.Command} {
			if word != "" {
				words = append(words, word)
			}
		}
	}
	return strings.Join(words, ", ")
}
