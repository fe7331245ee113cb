package sources

const (
	// fastInterval is the distance of readings, in seconds, below which their errors may be related.
	fastInterval = 0.75
	// slowReadings in a row that are farther apart show a source that only began with a burst.
	slowReadings = 16
)

// fit is the estimate of one track: the bank that takes each reading as it comes, and for a source
// that is read several times per second the blocks, of which the better counts.
type fit struct {
	direct bank
	blocks *blocks // nil for a slow source
	bets   bets
	slow   int // readings in a row that are no nearer than fastInterval
	freqSD float64
	best   belief
}

func newFit(withDelay bool, variance float64, prior Rate) fit {
	n := 1
	if withDelay {
		n = shapes
	}
	f := fit{direct: newBank(n, 0, variance, prior.SDPPB), freqSD: prior.SDPPB}
	f.direct.start(prior.FreqPPB)
	f.best = f.direct.best
	return f
}

// reading is one measurement as the filters see it.
type reading struct {
	dt     float64 // s since the newest reading
	phase  float64 // ns
	excess float64 // delay above the minimum in units of the usual
	extra  float64 // variance in ns^2 beyond the noise
}

// add takes a reading.
func (f *fit) add(r reading) {
	f.pace(r.dt)
	if f.blocks != nil {
		f.addToBlocks(r)
	}
	f.direct.update(r.dt, r.phase, r.excess, r.extra)
	f.best = f.direct.best
	if f.blocks == nil {
		return
	}
	if share := f.bets.share(); share > 0 {
		f.best = mixture(f.direct.best, f.blocks.belief(), share)
	}
}

// pace begins with the blocks where readings follow fast, and ends with them where they no longer do: a block of one
// reading knows nothing of its delay.
func (f *fit) pace(dt float64) {
	switch {
	case dt >= fastInterval:
		if f.slow = min(f.slow+1, slowReadings); f.slow == slowReadings {
			f.blocks, f.bets = nil, bets{}
		}
		return
	case f.blocks == nil:
		f.blocks = newBlocks(f.direct.best, f.direct.noise, f.freqSD)
	}
	f.slow = 0
}

// addToBlocks settles and places the bets where a block ends, before either estimator has seen
// anything of the next.
func (f *fit) addToBlocks(r reading) {
	f.bets.since += r.dt
	if f.blocks.due(r.dt, r.phase) {
		age, phase := f.blocks.mean()
		f.bets.settle(f.blocks.age+r.dt-age, phase)
		f.blocks.close()
		if f.blocks.count >= enoughBlocks {
			at := f.blocks.age + r.dt
			f.bets.place(f.direct.best.after(r.dt, 0), f.blocks.bank.best.after(at, 0))
		}
	}
	f.blocks.add(r.dt, r.phase, 1/(1+r.excess*r.excess))
}

// teach learns the spread from a reading that is not believed.
func (f *fit) teach(r reading) { f.direct.teach(r.dt, r.phase, r.excess, r.extra) }

// wander is the square of the learnt wander, ns^2/s^3.
func (f *fit) wander() float64 {
	w := f.direct.wander
	if f.blocks != nil {
		share := f.bets.share()
		w += share * (f.blocks.bank.wander - w)
	}
	return w
}

// shift subtracts d from every phase.
func (f *fit) shift(d float64) {
	f.best.phase -= d
	f.direct.shift(d)
	if f.blocks != nil {
		f.blocks.shift(d)
		f.bets.shift(d)
	}
}

// mixture is the mean of two beliefs with its spread; share is the weight of the second.
func mixture(a, b belief, share float64) belief {
	keep := 1 - share
	d0, d1 := b.phase-a.phase, b.freq-a.freq
	m := belief{
		phase: a.phase + share*d0,
		freq:  a.freq + share*d1,
		p00:   keep*a.p00 + share*(b.p00+keep*d0*d0),
		p01:   keep*a.p01 + share*(b.p01+keep*d0*d1),
		p11:   keep*a.p11 + share*(b.p11+keep*d1*d1),
	}
	m.repair()
	return m
}
