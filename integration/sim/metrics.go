package sim

import (
	"math"
	"slices"
)

// Series is a phase error in ns, sampled at a fixed interval.
type Series struct {
	Interval Elapsed
	Start    Elapsed
	Values   []float64
}

// Window returns the part of s from from (included) to to (excluded).
func (s Series) Window(from, to Elapsed) Series {
	lo := s.index(from)
	hi := max(lo, s.index(to))
	return Series{Interval: s.Interval, Start: s.Start + Elapsed(lo)*s.Interval, Values: s.Values[lo:hi]}
}

// index is that of the first value at or after t.
func (s Series) index(t Elapsed) int {
	if t <= s.Start {
		return 0
	}
	return min(int((t-s.Start+s.Interval-1)/s.Interval), len(s.Values))
}

// RMS returns the root mean square, 0 for an empty series.
func (s Series) RMS() float64 {
	if len(s.Values) == 0 {
		return 0
	}
	return math.Sqrt(sumOfSquares(s.Values) / float64(len(s.Values)))
}

func sumOfSquares(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x * x
	}
	return sum
}

// Max returns the largest absolute value.
func (s Series) Max() float64 {
	var m float64
	for _, x := range s.Values {
		m = max(m, math.Abs(x))
	}
	return m
}

// Percentile returns the absolute error that the fraction p (0 to 1) of the values does not exceed
// (nearest rank).
func (s Series) Percentile(p float64) float64 {
	if len(s.Values) == 0 {
		return 0
	}
	v := make([]float64, len(s.Values))
	for i, x := range s.Values {
		v[i] = math.Abs(x)
	}
	slices.Sort(v)
	rank := int(math.Ceil(p*float64(len(v)))) - 1
	return v[min(max(rank, 0), len(v)-1)]
}

// Frequency returns the error's rate of change over the window in ppb: the difference of the means of
// its last and its first tenth over their distance.
func (s Series) Frequency() float64 {
	n := len(s.Values) / 10
	if n == 0 {
		return 0
	}
	distance := float64(len(s.Values)-n) * s.Interval.Seconds()
	return (mean(s.Values[len(s.Values)-n:]) - mean(s.Values[:n])) / distance
}

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// ADEV returns the overlapping Allan deviation at tau = n intervals, dimensionless (NIST SP 1065,
// 5.2.4), NaN when the series is too short.
func (s Series) ADEV(n int) float64 {
	x, m := s.Values, len(s.Values)-2*n
	if n < 1 || m < 1 {
		return math.NaN()
	}
	var sum float64
	for i := range m {
		d := x[i+2*n] - 2*x[i+n] + x[i]
		sum += d * d
	}
	tau := float64(n) * s.Interval.Seconds() * 1e9
	return math.Sqrt(sum/(2*float64(m))) / tau
}

// TDEV returns the time deviation in ns at tau = n intervals (NIST SP 1065, 5.2.6; ITU-T G.810,
// appendix II.3), NaN when the series is too short.
func (s Series) TDEV(n int) float64 {
	x, m := s.Values, len(s.Values)-3*n+1
	if n < 1 || m < 1 {
		return math.NaN()
	}
	var inner float64
	for i := range n {
		inner += x[i+2*n] - 2*x[i+n] + x[i]
	}
	sum := inner * inner
	for j := 1; j < m; j++ {
		inner += x[j+3*n-1] - 3*x[j+2*n-1] + 3*x[j+n-1] - x[j-1]
		sum += inner * inner
	}
	return math.Sqrt(sum/(6*float64(m))) / float64(n)
}

// MTIE returns the maximum time interval error in ns over windows of n intervals (ITU-T G.810,
// appendix II.5), NaN when the series is too short.
func (s Series) MTIE(n int) float64 {
	if n < 1 || len(s.Values) <= n {
		return math.NaN()
	}
	var widest float64
	var highs, lows []int // indices, values monotone: the ends of the sliding window
	for i, x := range s.Values {
		for len(highs) > 0 && s.Values[highs[len(highs)-1]] <= x {
			highs = highs[:len(highs)-1]
		}
		for len(lows) > 0 && s.Values[lows[len(lows)-1]] >= x {
			lows = lows[:len(lows)-1]
		}
		highs, lows = append(highs, i), append(lows, i)
		if highs[0] < i-n {
			highs = highs[1:]
		}
		if lows[0] < i-n {
			lows = lows[1:]
		}
		if i >= n {
			widest = max(widest, s.Values[highs[0]]-s.Values[lows[0]])
		}
	}
	return widest
}

// LastAbove returns the instant after which the error stays within limit ns, and whether it does at
// the end of the series.
func (s Series) LastAbove(limit float64) (Elapsed, bool) {
	for i := len(s.Values) - 1; i >= 0; i-- {
		if math.Abs(s.Values[i]) > limit {
			return s.Start + Elapsed(i+1)*s.Interval, i < len(s.Values)-1
		}
	}
	return s.Start, true
}
