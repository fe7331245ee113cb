package candidates

import "math"

// Blocked feeds a bank with the means of blocks of one second.
type Blocked struct {
	bank       *Bank
	first      float64 // at of the first sample of the block
	base       float64
	n          float64
	sumT, sumZ float64 // relative to first, base
	sumR       float64 // of squared deviation from the bank's line
	within     float64 // variance within a block
	full       float64 // samples of a full block
	blocks     int
	X, Y, VX   float64 // with the partial block, at At
	At         float64
}

func NewBlocked(p Params) *Blocked { return &Blocked{bank: NewBank(p)} }

// Reading returns the mean of a block when one was completed.
func (b *Blocked) Reading(at, z float64) (done bool, t, mean float64) {
	if b.n > 0 && at-b.first >= 0.99e9 {
		t, mean = b.first+b.sumT/b.n, b.base+b.sumZ/b.n
		b.close(t, mean)
		done = true
	}
	if b.n == 0 {
		b.first, b.base = at, z
	}
	b.n++
	b.sumT += at - b.first
	b.sumZ += z - b.base
	if b.blocks > 2 {
		d := z - b.bank.Clock(at)
		b.sumR += d * d
	}
	b.partial(at)
	return
}

func (b *Blocked) close(t, mean float64) {
	d := mean - b.bank.Clock(t)
	if b.blocks > 2 && b.n > 1 {
		v := math.Max(0, (b.sumR-b.n*d*d)/(b.n-1))
		b.within += (v - b.within) / math.Min(float64(b.blocks-2), 50)
	}
	b.full = b.n
	b.bank.Reading(t, mean)
	b.blocks++
	b.n, b.sumT, b.sumZ, b.sumR = 0, 0, 0, 0
}

// partial takes the block so far into the estimate.
func (b *Blocked) partial(at float64) {
	k := b.bank
	b.At = at
	if b.blocks < 3 {
		b.X, b.Y = k.Clock(at), k.Y
		return
	}
	t, mean := b.first+b.sumT/b.n, b.base+b.sumZ/b.n
	dt := (t - k.at) * 1e-9
	x := k.X + k.Y*dt
	pp := k.VX + 2*k.VF*dt + k.VY*dt*dt + k.Q*dt*dt*dt/3
	pf := k.VF + k.VY*dt + k.Q*dt*dt/2
	whole := math.Min(math.Max(b.within/k.R, 1), b.full)
	sofar := 1 + (whole-1)*(b.n-1)/math.Max(1, b.full-1)
	s := pp + k.R*whole/sofar
	b.Y = k.Y + pf/s*(mean-x)
	b.X = x + pp/s*(mean-x) + b.Y*(at-t)*1e-9
	b.VX = pp
}

func (b *Blocked) Clock(at float64) float64 { return b.X + b.Y*(at-b.At)*1e-9 }

// Hybrid lets the direct bank and the blocked one predict the next block and uses the better.
type Hybrid struct {
	direct             *Bank
	blocked            *Blocked
	fast               bool
	n                  int
	last               float64
	pd, yd, pb, yb, pt float64
	ed, eb             float64
	scores             float64
	W                  float64
	Always             bool
}

func NewHybrid(p Params) *Hybrid { return &Hybrid{direct: NewBank(p), blocked: NewBlocked(p)} }

func (h *Hybrid) Reading(at, z float64) {
	h.n++
	if h.n == 2 {
		h.fast = at-h.last < 0.75e9
	}
	h.last = at
	done, t, mean := h.blocked.Reading(at, z)
	if done {
		if h.blocked.blocks > 4 {
			ed := mean - (h.pd + h.yd*(t-h.pt)*1e-9)
			eb := mean - (h.pb + h.yb*(t-h.pt)*1e-9)
			h.scores++
			g := 1 / math.Min(h.scores, 100)
			h.ed += (ed*ed - h.ed) * g
			h.eb += (eb*eb - h.eb) * g
			// log likelihood ratio over the window
			l := 0.5 * math.Min(h.scores, 100) * math.Log(h.ed/h.eb)
			h.W = 1 / (1 + math.Exp(-l))
		}
	}
	if done {
		h.pt = at
		h.pd, h.yd = h.direct.Clock(at), h.direct.Y
		h.pb, h.yb = h.blocked.bank.Clock(at), h.blocked.bank.Y
	}
	h.direct.Reading(at, z)
}

func (h *Hybrid) Clock(at float64) float64 {
	if !h.fast {
		return h.direct.Clock(at)
	}
	if h.Always {
		return h.blocked.Clock(at)
	}
	return h.W*h.blocked.Clock(at) + (1-h.W)*h.direct.Clock(at)
}
