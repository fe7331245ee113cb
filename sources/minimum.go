package sources

import "time"

// window is the number of samples in half of a minimum's memory: after a route change to a longer
// path the old minimum is forgotten within two windows.
const window = 64

// minimum is the smallest value of the last one to two windows.
type minimum struct {
	older, newer time.Duration
	count        int
}

func (m *minimum) add(d time.Duration) {
	switch {
	case m.count == 0:
		m.older, m.newer = d, d
	case m.count%window == 0:
		m.older, m.newer = m.newer, d
	default:
		m.newer = min(m.newer, d)
	}
	m.count++
}

// value returns the minimum, and whether there is one.
func (m *minimum) value() (time.Duration, bool) { return min(m.older, m.newer), m.count > 0 }

// excess returns how far d is above the minimum, d itself included.
func (m *minimum) excess(d time.Duration) time.Duration {
	least, ok := m.value()
	if !ok {
		return 0
	}
	return max(0, d-least)
}
