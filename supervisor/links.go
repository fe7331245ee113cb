package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// linkQueue is room for a burst of changes; a full queue loses nothing, because each change only
	// says that it is time to look.
	linkQueue = 16
	// linkRetry is the wait before a broken subscription is renewed.
	linkRetry = time.Second
)

// watchLinks says on linkC, until ctx is done, that a network interface has changed: appeared,
// disappeared, was renamed, went up or down, got another master or active slave. Without the kernel's
// word, where netlink is refused, the planner looks at its own pace.
func watchLinks(ctx context.Context, linkC chan<- string, log *slog.Logger) {
	said := ""
	for ctx.Err() == nil {
		err := followLinks(ctx, linkC)
		if ctx.Err() != nil {
			return
		}
		if err.Error() != said {
			said = err.Error()
			log.Warn("changes of network interfaces are not announced, they are looked for", "every_s", reprobeEvery.Seconds(), "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(linkRetry):
		}
	}
}

// followLinks hands on what one subscription tells. Its error is why that has ended.
func followLinks(ctx context.Context, linkC chan<- string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates, failed := make(chan netlink.LinkUpdate, linkQueue), make(chan error, 1)
	options := netlink.LinkSubscribeOptions{ErrorCallback: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}}
	if err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), options); err != nil {
		return fmt.Errorf("subscribe to network interfaces: %w", err)
	}
	tell(linkC, "") // what changed before is not announced
	defer func() {
		cancel()
		for range updates { // the library's reader must not be left waiting for us
			continue
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return fmt.Errorf("follow network interfaces: %w", err)
		case u, ok := <-updates:
			if !ok {
				return fmt.Errorf("follow network interfaces: the subscription has ended")
			}
			tell(linkC, u.Attrs().Name)
		}
	}
}

// tell says that it is time to look, unless that has been said already.
func tell(linkC chan<- string, name string) {
	select {
	case linkC <- name:
	default:
	}
}
