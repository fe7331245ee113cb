package supervisor

import (
	"context"
	"log/slog"
	"time"

	"clockarbiter/chrony"
	"clockarbiter/ptp"
	"clockarbiter/sources"
)

// adapters returns what turns a child's measurements into updates. A chronyd that serves NTP clients
// is told that the system clock is a reference only while fit says so: it would pass on a clock
// that nobody has set yet as a good one.
func adapters(child Child, host hostClock, log *slog.Logger, fit func() bool) []adapter {
	log = log.With("child", child.Name)
	if child.chrony != nil {
		feed := chrony.NewFeed(child.chrony.FeedSocket(), func() time.Duration { return 0 }, log)
		if child.chrony.Serves() {
			feed.Ready = fit
		}
		return []adapter{chrony.NewMonitor(*child.chrony, host, log), feedAdapter{feed}}
	}
	return []adapter{ptp.NewMonitor(*child.ptp, host, ptp.Options{}, log)}
}

// feedAdapter runs the reference feed, which measures nothing: it tells chronyd that the system clock
// is the reference.
type feedAdapter struct{ feed *chrony.Feed }

// Run feeds chronyd until ctx is done.
func (f feedAdapter) Run(ctx context.Context, _ chan<- sources.Update) error { return f.feed.Run(ctx) }
