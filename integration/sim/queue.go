package sim

import "container/heap"

// Elapsed is true time in nanoseconds since the start of the scenario.
type Elapsed int64

// Seconds returns e in seconds.
func (e Elapsed) Seconds() float64 { return float64(e) * 1e-9 }

// event is something that happens at one instant of true time.
type event struct {
	at   Elapsed
	rank uint64 // order of scheduling: events of one instant happen in it
	do   func(now Elapsed)
}

// queue holds the events to come; the zero queue is empty and ready.
type queue struct {
	events eventHeap
	next   uint64
	watch  func(now Elapsed) // told the time before each event, where set
}

// schedule adds an event. Of two events of one instant the one scheduled first happens first.
func (q *queue) schedule(at Elapsed, do func(now Elapsed)) {
	heap.Push(&q.events, event{at: at, rank: q.next, do: do})
	q.next++
}

// every schedules do at first and then at each multiple of interval after it, for ever.
func (q *queue) every(first, interval Elapsed, do func(now Elapsed)) {
	var tick func(now Elapsed)
	tick = func(now Elapsed) {
		q.schedule(now+interval, tick)
		do(now)
	}
	q.schedule(first, tick)
}

// runUntil performs the events up to and including end.
func (q *queue) runUntil(end Elapsed) {
	for len(q.events) > 0 && q.events[0].at <= end {
		e := heap.Pop(&q.events).(event)
		if q.watch != nil {
			q.watch(e.at)
		}
		e.do(e.at)
	}
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].rank < h[j].rank
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}
