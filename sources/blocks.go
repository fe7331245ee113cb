package sources

import "math"

const (
	// blockSeconds is the length of a block: the longest time over which readings behind a busy bus
	// were seen to have the same error.
	blockSeconds = 0.99
	// enoughBlocks is the number from which the blocks' estimate is meaningful.
	enoughBlocks = 4
	// jumpFactor is the ratio of the square of a difference of neighbours to the usual one from which
	// it is the end of a run of readings with the same error, and jumpSeconds the shortest run.
	jumpFactor, jumpSeconds = 16, 0.25
	// betMemory is the number of bets that the choice remembers.
	betMemory = 100
)

// blocks follows a source that is read several times per second without the assumption that its
// readings are independent: it takes the means of blocks of one second, and learns from them what
// a second's worth of readings is worth. The block that is not complete counts for its share.
type blocks struct {
	bank   bank
	count  int     // blocks completed
	age    float64 // newest reading - the bank's instant, s
	full   float64 // readings in the last complete block
	within float64 // variance of a reading within its block, ns^2
	last   float64 // phase of the newest reading, ns
	quiet  float64 // usual square of the difference of neighbours, ns^2

	// The block in progress: how old the bank was at its first reading, and weighted sums of the
	// readings' ages and distances from the bank's line.
	first                         float64
	readings, weights             float64
	sumAge, sumMiss, sumSquare    float64
	variancePrior, frequencyPrior float64
}

// newBlocks starts with the present estimate as the line that readings are compared with.
func newBlocks(now belief, variance, freqSD float64) *blocks {
	return &blocks{
		bank:          bank{best: now},
		last:          now.phase,
		quiet:         variance,
		variancePrior: variance, frequencyPrior: freqSD,
	}
}

// due reports whether a reading dt seconds after the newest begins a new block: because the one in
// progress is complete, or because the reading jumps, which ends a run of readings with the same
// error. So the blocks fall in step with the runs.
func (b *blocks) due(dt, z float64) bool {
	if b.readings == 0 {
		return false
	}
	length := b.age + dt - b.first
	return length >= blockSeconds || length >= jumpSeconds && b.difference(dt, z) > jumpFactor*b.quiet
}

// difference returns the square of the jump from the newest reading.
func (b *blocks) difference(dt, z float64) float64 {
	d := z - b.last - b.bank.best.freq*dt
	return d * d
}

// mean returns the age and the phase of the block in progress.
func (b *blocks) mean() (age, phase float64) {
	age = b.sumAge / b.weights
	return age, b.bank.best.phase + b.bank.best.freq*age + b.sumMiss/b.weights
}

// close feeds the block in progress to the bank.
func (b *blocks) close() {
	age, phase := b.mean()
	miss := b.sumMiss / b.weights
	if b.count >= enoughBlocks && b.readings > 1 {
		v := max(0, b.sumSquare-b.readings*miss*miss) / (b.readings - 1)
		b.within += (v - b.within) / min(float64(b.count-enoughBlocks+1), betMemory)
	}
	if b.count == 0 {
		b.bank = newBank(1, phase, b.variancePrior, b.frequencyPrior)
	} else {
		b.bank.update(age, phase, 0, 0)
	}
	b.age -= age
	b.full = b.readings
	b.count++
	b.readings, b.weights, b.sumAge, b.sumMiss, b.sumSquare = 0, 0, 0, 0, 0
}

// add takes a reading dt seconds after the newest; weight is the inverse of its relative variance.
func (b *blocks) add(dt, z, weight float64) {
	// A square above twice the usual teaches no more than that, so that runs show as quiet.
	b.quiet += (min(b.difference(dt, z), 2*b.quiet+1) - b.quiet) / betMemory
	b.last = z
	b.age += dt
	if b.readings == 0 {
		b.first = b.age
	}
	miss := z - b.bank.best.phase - b.bank.best.freq*b.age
	b.readings++
	b.weights += weight
	b.sumAge += weight * b.age
	b.sumMiss += weight * miss
	b.sumSquare += miss * miss
}

// belief returns the estimate at the newest reading, the block in progress included: its worth grows
// from that of one reading to that of a block, by as much as readings of one block were seen to
// be independent.
func (b *blocks) belief() belief {
	if b.readings == 0 {
		return b.bank.best.after(b.age, b.bank.wander)
	}
	age, phase := b.mean()
	at := b.bank.best.after(age, b.bank.wander)
	independent := clamp(b.within/b.bank.noise, 1, max(1, b.full))
	sofar := 1 + (independent-1)*min(1, (b.readings-1)/max(1, b.full-1))
	at = at.with(phase-at.phase, b.bank.noise*independent/sofar)
	return at.after(b.age-age, b.bank.wander)
}

func (b *blocks) shift(d float64) {
	b.last -= d
	b.bank.shift(d)
}

// bets compares two estimators by how well each predicted the next block.
type bets struct {
	count               int
	placed              bool
	since               float64 // when they were placed, s before the newest reading
	direct, block       belief
	missed, missedBlock float64 // mean squares, ns^2
}

// place notes what both say now of the block to come.
func (b *bets) place(direct, block belief) {
	b.placed, b.since, b.direct, b.block = true, 0, direct, block
}

// settle compares the bets with a block whose mean was age seconds before the newest reading.
func (b *bets) settle(age, phase float64) {
	if !b.placed {
		return
	}
	dt := b.since - age
	d := phase - b.direct.phase - b.direct.freq*dt
	e := phase - b.block.phase - b.block.freq*dt
	b.count++
	n := float64(min(b.count, betMemory))
	b.missed += (d*d - b.missed) / n
	b.missedBlock += (e*e - b.missedBlock) / n
}

// share returns the weight of the blocks' estimate: its probability, were both errors Gaussian.
func (b *bets) share() float64 {
	if b.count < enoughBlocks || !(b.missed > 0) || !(b.missedBlock > 0) {
		return 0
	}
	n := float64(min(b.count, betMemory))
	return 1 / (1 + math.Pow(b.missedBlock/b.missed, n/2))
}

func (b *bets) shift(d float64) {
	b.direct.phase -= d
	b.block.phase -= d
}
