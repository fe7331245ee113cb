package sim

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// The plot: error and bound over time, on a scale that is linear near zero and logarithmic beyond, so
// that a start 10 ms off and a steady state of 20 ns are both to be seen.
const (
	plotWidth, plotHeight = 1000.0, 480.0
	plotLeft, plotTop     = 80.0, 40.0
	plotRight, plotBottom = 20.0, 50.0
	// plotLinear is the error in ns up to which the scale is linear.
	plotLinear = 10.0
	// plotColumns is the number of points per curve: each is the extreme of its stretch of time.
	plotColumns = 900
)

// WriteSVG draws the run: the true error of the system clock, the published bound on either side of
// it, and the changes of selection and mode.
func (r Result) WriteSVG(w io.Writer) error {
	p := newPlot(r)
	var b strings.Builder
	p.head(&b, fmt.Sprintf("%s, seed %d: system clock - UTC; RMS %s, 99.9 %% %s", r.Name, r.Seed, Nanos(r.RMS), Nanos(r.P999)))
	p.grid(&b)
	p.curve(&b, "#b0c4de", r.boundCurve(+1))
	p.curve(&b, "#b0c4de", r.boundCurve(-1))
	p.curve(&b, "#1f4e9c", r.Error.Values)
	p.marks(&b, r.Selections, "#2e8b57", 0)
	p.marks(&b, r.Modes, "#b22222", 14)
	b.WriteString("</svg>\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write plot: %w", err)
	}
	return nil
}

// Curve is one of several errors in a plot.
type Curve struct {
	Name   string
	Series Series
}

// palette tells curves apart, also for those who do not see red and green.
var palette = [...]string{"#1f4e9c", "#d55e00", "#009e73", "#cc79a7", "#999999", "#000000"}

// WriteCurves draws errors that begin together over time, each in a colour with its name.
func WriteCurves(w io.Writer, title string, curves []Curve) error {
	p := plot{limit: 100}
	for _, c := range curves {
		p.seconds = max(p.seconds, float64(len(c.Series.Values))*c.Series.Interval.Seconds())
		p.limit = max(p.limit, c.Series.Max())
	}
	p.limit = math.Pow(10, math.Ceil(math.Log10(p.limit)))
	var b strings.Builder
	p.head(&b, title)
	p.grid(&b)
	for i, c := range curves {
		colour := palette[i%len(palette)]
		p.curve(&b, colour, c.Series.Values)
		fmt.Fprintf(&b, `<text x="%g" y="%g" fill="%s">%s</text>`+"\n", plotLeft+float64(i)*160, plotHeight-10, colour, escape(c.Name))
	}
	b.WriteString("</svg>\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write plot: %w", err)
	}
	return nil
}

func (p plot) head(b *strings.Builder, title string) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(b, `<rect width="%g" height="%g" fill="white"/>`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(b, `<text x="%g" y="24" font-size="15">%s</text>`+"\n", plotLeft, escape(title))
}

// boundCurve is the bound on one side, NaN where none was published.
func (r Result) boundCurve(side float64) []float64 {
	out := make([]float64, len(r.Bound))
	for i, b := range r.Bound {
		out[i] = side * b
		if math.IsInf(b, 0) {
			out[i] = math.NaN()
		}
	}
	return out
}

type plot struct {
	seconds float64
	limit   float64 // largest value shown, ns
}

func newPlot(r Result) plot {
	p := plot{seconds: max(r.Seconds, 1e-9), limit: 100}
	p.limit = max(p.limit, r.Error.Max())
	for _, b := range r.Bound {
		if !math.IsInf(b, 0) && !math.IsNaN(b) {
			p.limit = max(p.limit, b)
		}
	}
	p.limit = math.Pow(10, math.Ceil(math.Log10(p.limit)))
	return p
}

func (p plot) x(seconds float64) float64 {
	return plotLeft + seconds/p.seconds*(plotWidth-plotLeft-plotRight)
}

// y is linear up to plotLinear and logarithmic beyond.
func (p plot) y(ns float64) float64 {
	share := math.Asinh(ns/plotLinear) / math.Asinh(p.limit/plotLinear)
	middle := (plotTop + plotHeight - plotBottom) / 2
	return middle - share*(plotHeight-plotBottom-plotTop)/2
}

func (p plot) grid(b *strings.Builder) {
	for ns := p.limit; ns >= plotLinear; ns /= 10 {
		p.line(b, ns)
		p.line(b, -ns)
	}
	p.line(b, 0)
	for i := range 11 {
		seconds := p.seconds * float64(i) / 10
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n",
			p.x(seconds), plotHeight-plotBottom+20, time.Duration(seconds*1e9).Round(time.Second))
	}
}

func (p plot) line(b *strings.Builder, ns float64) {
	y := p.y(ns)
	fmt.Fprintf(b, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="#e0e0e0"/>`, plotLeft, plotWidth-plotRight, y, y)
	fmt.Fprintf(b, `<text x="%g" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft-6, y+4, Nanos(ns))
}

// curve draws the extremes of each stretch, lowest and highest.
func (p plot) curve(b *strings.Builder, colour string, values []float64) {
	columns := min(plotColumns, len(values))
	var points strings.Builder
	flush := func() {
		if points.Len() > 0 {
			fmt.Fprintf(b, `<polyline fill="none" stroke="%s" points="%s"/>`+"\n", colour, strings.TrimSpace(points.String()))
		}
		points.Reset()
	}
	for c := range columns {
		stretch := values[c*len(values)/columns : (c+1)*len(values)/columns]
		low, high := extremes(stretch)
		if math.IsNaN(low) {
			flush()
			continue
		}
		x := p.x(p.seconds * (float64(c) + 0.5) / float64(columns))
		fmt.Fprintf(&points, "%.1f,%.1f %.1f,%.1f ", x, p.y(low), x, p.y(high))
	}
	flush()
}

// extremes returns the lowest and the highest value, NaN where one is missing.
func extremes(values []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

func (p plot) marks(b *strings.Builder, changes []Change, colour string, down float64) {
	for _, c := range changes {
		name := c.To
		if name == "" {
			name = "none"
		}
		x := p.x(c.Seconds)
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%g" y2="%g" stroke="%s" stroke-dasharray="3,3"/>`,
			x, x, plotTop, plotHeight-plotBottom, colour)
		fmt.Fprintf(b, `<text x="%.1f" y="%g" fill="%s">%s</text>`+"\n", x+3, plotTop+12+down, colour, escape(name))
	}
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func escape(s string) string { return escaper.Replace(s) }

// Nanos writes nanoseconds with three digits and a unit.
func Nanos(ns float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}} {
		if math.Abs(ns) >= unit.size {
			return fmt.Sprintf("%.3g %s", ns/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.3g ns", ns)
}
