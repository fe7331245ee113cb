package sim

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// Result is what a run showed. Errors are the system clock - UTC in ns, over the time after Settle.
type Result struct {
	Name    string  `json:"name"`
	Seed    uint64  `json:"seed"`
	Seconds float64 `json:"seconds"`
	Samples int     `json:"samples"`
	RMS     float64 `json:"rms_ns"`
	Max     float64 `json:"max_ns"`
	P50     float64 `json:"p50_ns"`
	P99     float64 `json:"p99_ns"`
	P999    float64 `json:"p999_ns"`
	// ControlRMS is the system clock - the estimate that it follows.
	ControlRMS float64 `json:"control_rms_ns"`
	// CalmRMS is the same where no sample has moved the estimate in the last two control periods.
	CalmRMS float64 `json:"calm_rms_ns"`
	// FrequencyPPB is the mean rate of the error.
	FrequencyPPB float64 `json:"frequency_ppb"`
	// Bounded is the share of the samples with a published bound in which it contained the truth,
	// BoundP50 the median of the bound.
	Bounded  float64 `json:"bounded"`
	BoundP50 float64 `json:"bound_p50_ns"`
	// Stability of the error at each averaging time.
	Stability []Stability `json:"stability"`
	// Converged is when the error came below 1 us for good, absent when it never did.
	Converged *float64 `json:"converged_s"`
	// Selections and Modes are changes of the selected source and of the mode; Steps is the number
	// of steps ordered.
	Selections []Change `json:"selections"`
	Modes      []Change `json:"modes"`
	Steps      int      `json:"steps"`
	Events     []Event  `json:"events"`
	// Faults lists what each fault did.
	Faults []FaultOutcome `json:"faults"`
	// Broken lists the assertions that did not hold.
	Broken []string `json:"broken"`

	Error   Series    `json:"-"`
	Control []float64 `json:"-"` // NaN without an estimate
	Calm    []float64 `json:"-"` // Control, NaN within two control periods of a sample
	Bound   []float64 `json:"-"` // infinite without a published bound
	Peers   []Series  `json:"-"` // error of each peer, sampled as Error is
}

// Stability is the error's at one averaging time.
type Stability struct {
	Seconds float64 `json:"tau_s"`
	ADEV    float64 `json:"adev"`
	TDEV    float64 `json:"tdev_ns"`
	MTIE    float64 `json:"mtie_ns"`
}

// FaultOutcome is what followed a fault.
type FaultOutcome struct {
	Seconds float64 `json:"at_s"`
	Fault   string  `json:"fault"`
	// FailOver is the time in s until another source was selected, before the next fault; absent when
	// none was.
	FailOver *float64 `json:"fail_over_s"`
	// Transient is the largest error until the next fault or the end, at most ten minutes, in ns.
	Transient float64 `json:"transient_ns"`
}

// faults lists what followed each fault of the scenario.
func (w *world) faults(selections []Change) []FaultOutcome {
	var out []FaultOutcome
	for _, f := range w.scenario.Faults {
		end := min(Elapsed(f.At)+Elapsed(10*time.Minute), Elapsed(w.scenario.Duration))
		for _, g := range w.scenario.Faults {
			if g.At > f.At {
				end = min(end, Elapsed(g.At))
			}
		}
		o := FaultOutcome{Seconds: f.At.Seconds(), Fault: f.String()}
		o.Transient = w.recorder.error.Window(Elapsed(f.At), end).Max()
		for _, c := range selections {
			if after := c.Seconds - o.Seconds; after >= 0 && c.Seconds < end.Seconds() && c.To != "" {
				o.FailOver = &after
				break
			}
		}
		out = append(out, o)
	}
	return out
}

// Change is a transition.
type Change struct {
	Seconds float64 `json:"at_s"`
	To      string  `json:"to"`
}

// result sums a run up.
func (w *world) result() Result {
	r := &w.recorder
	s := w.scenario
	settled := r.error.Window(Elapsed(s.Settle), Elapsed(s.Duration)+1)
	first := len(r.error.Values) - len(settled.Values)
	out := Result{
		Name: s.Name, Seed: s.Seed, Seconds: s.Duration.Seconds(), Samples: len(settled.Values),
		RMS: settled.RMS(), Max: settled.Max(),
		P50: settled.Percentile(0.5), P99: settled.Percentile(0.99), P999: settled.Percentile(0.999),
		ControlRMS: rmsOfKnown(r.control[first:]), CalmRMS: rmsOfKnown(r.calm[first:]), FrequencyPPB: settled.Frequency(),
		Steps: r.steps, Events: r.events,
		Error: r.error, Control: r.control, Calm: r.calm, Bound: r.bound, Peers: r.peers,
	}
	for i := range out.Peers {
		out.Peers[i].Interval, out.Peers[i].Start = r.error.Interval, r.error.Start
	}
	out.Bounded, out.BoundP50 = bounded(settled.Values, r.bound[first:])
	out.Stability = stability(settled)
	if at, ok := r.error.LastAbove(1000); ok {
		seconds := at.Seconds()
		out.Converged = &seconds
	}
	out.Selections, out.Modes = changes(r.slices)
	out.Faults = w.faults(out.Selections)
	out.Broken = w.verify()
	return out
}

func rmsOfKnown(v []float64) float64 {
	var sum, n float64
	for _, x := range v {
		if !math.IsNaN(x) {
			sum, n = sum+x*x, n+1
		}
	}
	if n == 0 {
		return 0
	}
	return math.Sqrt(sum / n)
}

// bounded returns the share of the samples that their bound contains, and the median bound. Without a
// published bound nothing was promised; without any the share is 1.
func bounded(errs, bounds []float64) (share, median float64) {
	var in int
	known := Series{}
	for i, b := range bounds {
		if math.IsInf(b, 0) {
			continue
		}
		known.Values = append(known.Values, b)
		if math.Abs(errs[i]) <= b {
			in++
		}
	}
	if len(known.Values) == 0 {
		return 1, 0
	}
	return float64(in) / float64(len(known.Values)), known.Percentile(0.5)
}

// stability computes the deviations at averaging times an octave apart, as long as a quarter of the
// series.
func stability(s Series) []Stability {
	var out []Stability
	for n := 1; n*4 <= len(s.Values); n *= 2 {
		out = append(out, Stability{
			Seconds: float64(n) * s.Interval.Seconds(), ADEV: s.ADEV(n), TDEV: s.TDEV(n), MTIE: s.MTIE(n),
		})
	}
	return out
}

func changes(all []slice) (selections, modes []Change) {
	var last slice
	for _, s := range all {
		if s.selected != last.selected {
			selections = append(selections, Change{Seconds: s.at.Seconds(), To: string(s.selected)})
		}
		if s.mode != last.mode {
			modes = append(modes, Change{Seconds: s.at.Seconds(), To: s.mode.String()})
		}
		last = s
	}
	return selections, modes
}

// WriteJSON writes the figures, not the series.
func (r Result) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// WriteCSV writes the series: time in s; error, control error and bound in ns, empty where there is
// none.
func (r Result) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"seconds", "error_ns", "control_ns", "bound_ns"}}
	for i, e := range r.Error.Values {
		at := r.Error.Start + Elapsed(i)*r.Error.Interval
		rows = append(rows, []string{number(at.Seconds()), number(e), number(r.Control[i]), number(r.Bound[i])})
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write series: %w", err)
	}
	return nil
}

func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', 9, 64)
}
