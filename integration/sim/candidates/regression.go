package candidates

import "math"

const (
	// leastSamples and mostSamples bound the window.
	leastSamples, mostSamples = 4, 256
	// runsSD is how many standard deviations too few runs of the residuals' signs may be.
	runsSD = 2.0
)

// Regression is a straight line through the newest readings, refitted with weights against outliers
// (Huber), over a window that is shortened while the signs of the residuals come in too few runs,
// which is what a line through a curve leaves (the idea of chronyd's sourcestats).
type Regression struct {
	at, offset  []float64
	phase, freq float64 // at the newest reading
}

// NewRegression returns an empty one.
func NewRegression() *Regression { return &Regression{} }

// Reading takes one reading.
func (r *Regression) Reading(at, offset float64) {
	r.at, r.offset = append(r.at, at), append(r.offset, offset)
	if len(r.at) > mostSamples {
		r.at, r.offset = r.at[1:], r.offset[1:]
	}
	if len(r.at) < 2 {
		r.phase = offset
		return
	}
	for {
		r.fit()
		if len(r.at) <= leastSamples || !r.fewRuns() {
			return
		}
		drop := max(1, len(r.at)/8)
		r.at, r.offset = r.at[drop:], r.offset[drop:]
	}
}

// fit is two rounds of weighted least squares.
func (r *Regression) fit() {
	r.line(math.Inf(1))
	var sum float64
	for i := range r.at {
		sum += math.Abs(r.residual(i))
	}
	r.line(2 * 1.25 * sum / float64(len(r.at)))
}

// line fits; residuals above limit count less.
func (r *Regression) line(limit float64) {
	now := r.at[len(r.at)-1]
	var w, wt, wx, wtt, wtx float64
	for i := range r.at {
		t, x, weight := (r.at[i]-now)*1e-9, r.offset[i], 1.0
		if !math.IsInf(limit, 0) {
			if d := math.Abs(r.residual(i)); d > limit {
				weight = limit / d
			}
		}
		w, wt, wx, wtt, wtx = w+weight, wt+weight*t, wx+weight*x, wtt+weight*t*t, wtx+weight*t*x
	}
	r.freq = (w*wtx - wt*wx) / (w*wtt - wt*wt)
	r.phase = (wx - r.freq*wt) / w
}

func (r *Regression) residual(i int) float64 {
	return r.offset[i] - r.phase - r.freq*(r.at[i]-r.at[len(r.at)-1])*1e-9
}

// fewRuns is the test of Wald and Wolfowitz.
func (r *Regression) fewRuns() bool {
	runs, n := 1.0, float64(len(r.at))
	for i := 1; i < len(r.at); i++ {
		if (r.residual(i) > 0) != (r.residual(i-1) > 0) {
			runs++
		}
	}
	return runs < n/2+1-runsSD*math.Sqrt((n-1)/4)
}

// Clock returns the estimate.
func (r *Regression) Clock(at float64) float64 {
	if len(r.at) == 0 {
		return 0
	}
	return r.phase + r.freq*(at-r.at[len(r.at)-1])*1e-9
}
