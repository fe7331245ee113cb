package sources

import (
	"math"
	"time"
)

// Until returns after which time from e.At on Project's bound exceeds limit, if no sample comes: 0 where it
// does already, absent where it never will, or not in 36 years.
func (e Estimate) Until(limit time.Duration) Optional[time.Duration] {
	if e.Bound > limit {
		return Some(time.Duration(0))
	}
	// The growth is Confidence x (promised(t) - sd), with promised(t)^2 = (sd + f t)^2 + w^2 t^3 / 3.
	sd, f, w := float64(e.OffsetSD), e.FreqSDPPB, max(e.WanderPPB, e.LastingWanderPPB)
	p := sd + float64(limit-e.Bound)/Confidence
	// Each part alone would take longer than both together.
	t := math.Min((p-sd)/f, math.Cbrt(3*(p*p-sd*sd)/(w*w)))
	if math.IsNaN(t) || t > maxBound.Seconds() {
		return None[time.Duration]()
	}
	// The excess is convex and grows with t: from the right Newton's method never overshoots.
	for range 50 {
		linear := sd + f*t
		excess := linear*linear + wanderVariance(w, t) - p*p
		step := excess / (2*f*linear + w*w*t*t)
		if !(step > t*1e-12) {
			break
		}
		t -= step
	}
	return Some(duration(t * 1e9))
}
