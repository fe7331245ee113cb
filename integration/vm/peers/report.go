package peers

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"clockarbiter/integration/sim"
)

//go:embed report.md.tmpl
var reportTemplate embed.FS

// Results are the runs that are there.
type Results struct {
	mu   sync.Mutex
	runs map[[2]string]Run // by peer and scenario
}

// Add takes a run. It is safe for concurrent use.
func (rs *Results) Add(r Run) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.runs == nil {
		rs.runs = map[[2]string]Run{}
	}
	rs.runs[[2]string{r.Peer, r.Scenario}] = r
}

// run is that of a peer in a scenario, false where there is none.
func (rs *Results) run(peer, scenario string) (Run, bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r, ok := rs.runs[[2]string{peer, scenario}]
	return r, ok
}

// LoadAll reads the runs kept below dir. Those that are missing are left out.
func LoadAll(dir string) (*Results, error) {
	out := new(Results)
	load := func(peer, scenario string) error {
		r, err := Load(dir, peer, scenario)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			out.Add(r)
		}
		return err
	}
	var all error
	for _, p := range Peers() {
		for _, s := range All() {
			all = errors.Join(all, load(p.Name, s.Name))
		}
	}
	for _, p := range Variants() {
		for _, s := range Steady() {
			all = errors.Join(all, load(p.Name, s.Name))
		}
	}
	return out, errors.Join(all, load(Nobody, AtRest))
}

// figures are those of a run, all NaN where there is none.
func (rs *Results) figures(peer, scenario string) Figures {
	r, ok := rs.run(peer, scenario)
	if !ok {
		return nothing()
	}
	return FiguresOf(r)
}

// starts are the cold starts of a peer, in ascending order; infinite: not within the time.
func (rs *Results) starts(peer string) []float64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var out []float64
	for _, r := range rs.runs {
		if r.Peer != peer || !strings.HasPrefix(r.Scenario, starting) {
			continue
		}
		start := StartOf(r)
		if math.IsNaN(start) {
			start = math.Inf(1)
		}
		out = append(out, start)
	}
	slices.Sort(out)
	return out
}

// steady is what a peer's steady runs show together: the RMS of all, the largest of all, the median start. All NaN
// where one is missing.
func (rs *Results) steady(peer string) Figures {
	var f Figures
	var square float64
	var starts []float64
	for _, s := range Steady() {
		one := rs.figures(peer, s.Name)
		square += one.RMS * one.RMS / steadyRuns
		f.P999, f.Max = max(f.P999, one.P999), max(f.Max, one.Max)
		starts = append(starts, one.Start)
	}
	slices.Sort(starts)
	f.RMS, f.Start = math.Sqrt(square), starts[len(starts)/2]
	return f
}

// best is the variant with the smallest of a figure among those whose names begin so; NaN where none was measured.
func (rs *Results) best(begin string, figure func(Figures) float64) (name string, least float64) {
	least = math.NaN()
	for _, p := range Variants() {
		if !strings.HasPrefix(p.Name, begin) {
			continue
		}
		if one := figure(rs.steady(p.Name)); one < least || math.IsNaN(least) {
			name, least = strings.TrimPrefix(p.Name, begin), one
		}
	}
	return name, least
}

// Start is the median of the cold starts, in s; NaN without any.
func (rs *Results) Start(peer string) float64 {
	all := rs.starts(peer)
	if len(all) == 0 {
		return math.NaN()
	}
	return all[len(all)/2]
}

// Ratio is a figure of ours beside a peer's.
type Ratio struct {
	What     string
	Got, Max float64
	Unit     string
}

// Holds reports whether the figure is within its limit. One that was not measured is not.
func (r Ratio) Holds() bool { return r.Got <= r.Max }

// ColdStart is what the ratio of the cold starts is called.
const ColdStart = "cold start to 1 us, beside timemaster"

// Ratios are what was asked for.
func (rs *Results) Ratios() []Ratio {
	list := append(rs.bestRatios(), rs.QuickRatios()...)
	for _, lie := range []string{Lie1ms, Lie15ms, Lie37s} {
		f := rs.figures(Clockarbiter, lie)
		list = append(list, Ratio{lie + ", largest error", f.After / 1000, 40, "us"}, Ratio{lie + ", named after", f.Named, 3, "s"})
	}
	return list
}

// bestRatios compare locked clocks over several runs with the best variant of each peer.
func (rs *Results) bestRatios() []Ratio {
	us := rs.steady(Clockarbiter).RMS
	beside := func(who, begin string, limit float64) Ratio {
		name, rms := rs.best(begin, func(f Figures) float64 { return f.RMS })
		return Ratio{fmt.Sprintf("locked, RMS of %d runs, beside %s at its best (%s)", steadyRuns, who, name), us / rms, limit, "x"}
	}
	return []Ratio{beside("ptp4l and phc2sys", asPHC2Sys, 0.7), beside("chronyd with the PHC", asChronyd, 0.9)}
}

// fastest says what a cold start takes beside the variant of timemaster that starts soonest.
func (rs *Results) fastest() string {
	name, start := rs.best(asTimemaster, func(f Figures) float64 { return f.Start })
	return fmt.Sprintf("Beside the variant of timemaster that starts soonest (%s), a cold start takes %.2f x, by the medians of %d runs",
		name, rs.steady(Clockarbiter).Start/start, steadyRuns)
}

// QuickRatios are those that a start, a locked clock and the grandmaster's death show.
func (rs *Results) QuickRatios() []Ratio {
	us := rs.figures(Clockarbiter, Death)
	return []Ratio{
		{"locked, RMS, beside ptp4l and phc2sys", us.RMS / rs.figures(PHC2Sys, Death).RMS, 0.7, "x"},
		{"locked, RMS, beside chronyd with the PHC", us.RMS / rs.figures(Chronyd, Death).RMS, 0.9, "x"},
		{ColdStart, rs.Start(Clockarbiter) / rs.Start(Timemaster), 1.0 / 3, "x"},
		{"grandmaster dies, largest error, beside timemaster", us.After / rs.figures(Timemaster, Death).After, 0.5, "x"},
	}
}

// row is a line of the table: a figure of every peer.
type row struct {
	what  string
	value func(rs *Results, peer string) string
}

func ofScenario(scenario string, get func(Figures) float64) func(*Results, string) string {
	return func(rs *Results, peer string) string { return showNS(get(rs.figures(peer, scenario))) }
}

func rows() []row {
	locked := func(get func(Figures) float64) func(*Results, string) string { return ofScenario(Death, get) }
	after := func(f Figures) float64 { return f.After }
	list := []row{
		{"cold start, 10 ms and 50 ppm, to 1 us: median (range)", showStart},
		{"locked: RMS", locked(func(f Figures) float64 { return f.RMS })},
		{"locked: 99.9 %", locked(func(f Figures) float64 { return f.P999 })},
		{"locked: largest", locked(func(f Figures) float64 { return f.Max })},
	}
	for i, tau := range Taus {
		list = append(list, row{fmt.Sprintf("locked: MTIE(%v)", tau), locked(func(f Figures) float64 { return at(f.MTIE, i) })})
	}
	for i, tau := range Taus {
		list = append(list, row{fmt.Sprintf("locked: TDEV(%v)", tau), locked(func(f Figures) float64 { return at(f.TDEV, i) })})
	}
	for _, s := range Scenarios() {
		list = append(list, row{fmt.Sprintf("%s: largest error in %v", s.Name, minutes(s.After)), ofScenario(s.Name, after)})
	}
	return append(list,
		row{"steps of CLOCK_REALTIME: start and grandmaster's death; each lie", showSteps},
		row{"CPU, locked", func(rs *Results, peer string) string { return showNumber(rs.figures(peer, Death).CPU, "%.1f s/h") }},
		row{"memory: peaks of resident sets", func(rs *Results, peer string) string {
			return showNumber(float64(rs.figures(peer, Death).Memory)/(1<<20), "%.1f MiB")
		}},
	)
}

func minutes(d time.Duration) string { return fmt.Sprintf("%g min", d.Minutes()) }

// at is element i, NaN where there is none.
func at(v []float64, i int) float64 {
	if i >= len(v) {
		return math.NaN()
	}
	return v[i]
}

func showNS(ns float64) string {
	if math.IsNaN(ns) {
		return "-"
	}
	return sim.Nanos(ns)
}

func showNumber(v float64, format string) string {
	if math.IsNaN(v) || v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

func showStart(rs *Results, peer string) string {
	all := rs.starts(peer)
	if len(all) == 0 {
		return "-"
	}
	seconds := func(s float64) string {
		if math.IsInf(s, 0) {
			return "never"
		}
		return fmt.Sprintf("%.1f s", s)
	}
	return fmt.Sprintf("%s (%s to %s)", seconds(rs.Start(peer)), seconds(all[0]), seconds(all[len(all)-1]))
}

func showSteps(rs *Results, peer string) string {
	var list []string
	for _, s := range []string{Death, Lie1ms, Lie15ms, Lie37s} {
		steps := "-"
		if r, ok := rs.run(peer, s); ok {
			steps = fmt.Sprint(FiguresOf(r).Steps)
		}
		list = append(list, steps)
	}
	return strings.Join(list, ", ")
}

// Report is what the template of the document is given.
func (rs *Results) Report(w io.Writer) error {
	t, err := template.ParseFS(reportTemplate, "report.md.tmpl")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	floor, _ := rs.run(Nobody, AtRest)
	rms, most := Floor(floor)
	err = t.Execute(w, map[string]string{
		"Table": rs.table(), "Ratios": rs.ratioTable(), "Variants": rs.variantTable(), "Peers": rs.peerList(), "Fastest": rs.fastest(),
		"FloorRMS": showNS(rms), "FloorMax": showNS(most), "Lacks": strings.Join(rs.lacks(), "; "),
	})
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// lacks lists the runs that are missing, and those that were shorter than their scenario, together where the
// same is true of several peers.
func (rs *Results) lacks() []string {
	var what []string
	peers := map[string][]string{}
	check := func(peer string, s Scenario) {
		if l := rs.lack(peer, s); l != "" {
			if len(peers[l]) == 0 {
				what = append(what, l)
			}
			peers[l] = append(peers[l], peer)
		}
	}
	for _, s := range All() {
		for _, p := range Peers() {
			check(p.Name, s)
		}
	}
	for _, p := range Variants() {
		for _, s := range Steady() {
			check(p.Name, s)
		}
	}
	for i, l := range what {
		what[i] = l + " (" + strings.Join(peers[l], "; ") + ")"
	}
	return what
}

// lack is what a run lacks of its scenario, empty for nothing. A second more or less is nothing.
func (rs *Results) lack(peer string, s Scenario) string {
	r, ok := rs.run(peer, s.Name)
	if !ok {
		return s.Name + ": not run"
	}
	locked, after := r.Fault-r.Locked, r.Trace[len(r.Trace)-1].At-r.Fault
	if s.Fault == nil {
		after = s.After
	}
	if locked >= s.Locked*9/10 && after >= s.After*9/10 {
		return ""
	}
	const about = 5 * time.Second
	return fmt.Sprintf("%s: %v locked and %v after, instead of %v and %v", s.Name, locked.Round(about), after.Round(about), s.Locked, s.After)
}

func (rs *Results) table() string {
	var b strings.Builder
	head, rule := "| |", "| --- |"
	for _, p := range Peers() {
		head, rule = head+" "+p.Name+" |", rule+" --- |"
	}
	b.WriteString(head + "\n" + rule + "\n")
	for _, r := range rows() {
		fmt.Fprintf(&b, "| %s |", r.what)
		for _, p := range Peers() {
			fmt.Fprintf(&b, " %s |", r.value(rs, p.Name))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (rs *Results) ratioTable() string {
	var b strings.Builder
	b.WriteString("| clockarbiter | got | at most | |\n| --- | --- | --- | --- |\n")
	for _, r := range rs.Ratios() {
		verdict := "holds"
		switch {
		case math.IsNaN(r.Got):
			verdict = "not measured"
		case !r.Holds():
			verdict = "does not hold"
		}
		fmt.Fprintf(&b, "| %s | %.2f %s | %.2f %s | %s |\n", r.What, r.Got, r.Unit, r.Max, r.Unit, verdict)
	}
	return b.String()
}

func (rs *Results) variantTable() string {
	var b strings.Builder
	b.WriteString("| variant | cold start to 1 us, median | locked: RMS | 99.9 % | largest |\n| --- | --- | --- | --- | --- |\n")
	for _, p := range Variants() {
		f := rs.steady(p.Name)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", p.Name, showNumber(f.Start, "%.1f s"), showNS(f.RMS), showNS(f.P999), showNS(f.Max))
	}
	return b.String()
}

func (rs *Results) peerList() string {
	var b strings.Builder
	for _, p := range Peers() {
		r, _ := rs.run(p.Name, Death)
		fmt.Fprintf(&b, "- **%s** (%s): %s.\n", p.Name, r.Versions, p.About)
	}
	return b.String()
}

// Plots writes a plot per scenario, and one of the start, below dir.
func (rs *Results) Plots(dir string) error {
	start := func(r Run) sim.Series { return Series(r.Trace, 0, r.Trace[0].At+2*time.Minute) }
	err := rs.plot(dir, "start", "Cold start: system clock - UTC", Death, start)
	locked := func(r Run) sim.Series { return Series(r.Trace, r.Locked, r.Fault) }
	err = errors.Join(err, rs.plot(dir, "locked", "Locked: system clock - UTC", Death, locked))
	for _, s := range Scenarios() {
		from := func(r Run) sim.Series { return Series(r.Trace, r.Fault-30*time.Second, forever) }
		err = errors.Join(err, rs.plot(dir, strings.ReplaceAll(strings.ToLower(s.Name), " ", "-"), s.Name+" after 30 s: system clock - UTC", s.Name, from))
	}
	return err
}

func (rs *Results) plot(dir, name, title, scenario string, part func(Run) sim.Series) (err error) {
	var curves []sim.Curve
	for _, p := range Peers() {
		if r, ok := rs.run(p.Name, scenario); ok {
			curves = append(curves, sim.Curve{Name: p.Name, Series: part(r)})
		}
	}
	f, err := os.Create(filepath.Join(dir, "peers-"+name+".svg"))
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return sim.WriteCurves(f, title, curves)
}
