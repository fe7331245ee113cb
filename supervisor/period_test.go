package supervisor

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
	"clockarbiter/supervisor/process"
)

// Everything at once that the outside can do to the loop: engines that never stop talking, and talk
// nonsense, children whose events never end, a reload without a pause, clients that never leave.
func TestTheLoopKeepsItsPeriodWhateverTheChildrenDo(t *testing.T) {
	r := newRig(t)
	updates, events, orders := make(chan sources.Update, updateQueue), make(chan process.Event, eventQueue), make(chan order)
	host, err := clock.NewHost()
	if err != nil {
		t.Fatal(err)
	}
	r.now = host.Now
	r.loop.discipline = clock.NewDiscipline(clock.NewVirtual(host.Now, 0, 0), clock.DisciplineOptions{Interval: r.interval, MaxSlewPPM: 400, MaxFrequencyPPM: 500})
	r.updates, r.events, r.orders = updates, events, orders
	socket := filepath.Join(t.TempDir(), "status.sock")
	serve(t, NewStatusServer(socket, r.snapshot, discard()).Run)
	awaitSocket(t, socket)

	const period, span = 50 * time.Millisecond, 3 * time.Second
	r.interval = period
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	var wg sync.WaitGroup
	garbage := sources.Update{Answered: true}
	for _, p := range r.plan.Sources {
		for range 20 {
			garbage.Samples = append(garbage.Samples, sources.Sample{Source: p.ID, Offset: 1 << 62, At: timescale.Instant(1 << 62)})
		}
		garbage.Reports = append(garbage.Reports, sources.Report{Source: p.ID, Condition: 99, Detail: strings.Repeat("\x00garbage\n", 100)})
	}
	flood(ctx, &wg, updates, garbage)
	flood(ctx, &wg, events, process.Event{Kind: process.EventStuck, Name: "chronyd"})
	flood(ctx, &wg, orders, order{plan: r.plan, arbiter: arbiterConfig(r.cfg)})
	wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = ReadStatus(ctx, socket) // answered or turned away
		}
	})
	var idle lateness // what this machine does to a loop that does nothing
	wg.Go(func() { tickIdly(ctx, period, &idle) })
	r.loop.run(ctx)
	wg.Wait()
	st, ok := r.snapshot()
	is, was := r.state.late.quantile(0.95), idle.quantile(0.95)
	t.Logf("%d ticks, %d of an idle loop beside it; 95 %% late by at most %v, %v", st.Loop.Ticks, idle.total, is, was)
	if !ok || st.Loop.Ticks < idle.total/2 || is > 4*was+period {
		t.Errorf("%d ticks, %d of an idle loop beside it; 95 %% late by at most %v, %v", st.Loop.Ticks, idle.total, is, was)
	}
}

// flood sends without a pause.
func flood[T any](ctx context.Context, wg *sync.WaitGroup, c chan<- T, what T) {
	wg.Go(func() {
		for {
			select {
			case c <- what:
			case <-ctx.Done():
				return
			}
		}
	})
}
