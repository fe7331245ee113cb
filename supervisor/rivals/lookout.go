package rivals

import (
	"context"
	"time"
)

// scanTimeout bounds one scan.
const scanTimeout = 2 * time.Second

// Result is what a scan found. Err says why it may be incomplete.
type Result struct {
	Suspects []Suspect
	Err      error
}

// Lookout scans when asked, in a goroutine of its own, so that who asks never waits.
type Lookout struct {
	// C has the newest result until it is received.
	C <-chan Result

	scan func(context.Context) ([]Suspect, error)
	askC chan struct{}
	c    chan Result
}

// NewLookout returns a lookout over a scan such as Scanner.Scan.
func NewLookout(scan func(context.Context) ([]Suspect, error)) *Lookout {
	c := make(chan Result, 1)
	return &Lookout{C: c, c: c, scan: scan, askC: make(chan struct{}, 1)}
}

// Ask asks for a scan. One that is asked for while another runs comes after it; more are one.
func (l *Lookout) Ask() {
	select {
	case l.askC <- struct{}{}:
	default:
	}
}

// Run scans until ctx is done.
func (l *Lookout) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.askC:
		}
		within, cancel := context.WithTimeout(ctx, scanTimeout)
		suspects, err := l.scan(within)
		cancel()
		select {
		case <-l.c: // nobody has taken the older one
		default:
		}
		l.c <- Result{Suspects: suspects, Err: err}
	}
}
