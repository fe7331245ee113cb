package supervisor

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"clockarbiter/arbiter"
	"clockarbiter/clock"
	"clockarbiter/clock/timescale"
	"clockarbiter/configs"
	"clockarbiter/sources"
	"clockarbiter/supervisor/rivals"
	"clockarbiter/supervisor/tracer"
)

const (
	// undoFloor: a smaller foreign step is slewed away like any error; the clock need not jump again.
	undoFloor = 10 * time.Microsecond
	// undoCertainty is how many times its own uncertainty a step must be to be taken back at once.
	undoCertainty = 10
	// suspectsWait bounds how long an entry waits for the names of the suspects.
	suspectsWait = 3 * time.Second
	// maxSuspects and maxPending bound status and memory.
	maxSuspects = 8
	maxPending  = 64
)

// ownership keeps the clock ours: it judges what others did to it, answers as configured, and says who
// may have been it. The control loop owns it. The zero value knows no suspects and holds at the first
// stranger.
type ownership struct {
	defence defence
	kernel  clock.Kernel    // whose clock it is; the discipline alone writes to it
	lookout *rivals.Lookout // nil: nobody looks
	record  recorder

	setC     <-chan struct{}      // wakes when CLOCK_REALTIME is set; nil: never
	rivalC   <-chan rivals.Result // what the lookout found
	starting bool                 // the scan at start is on its way
	pending  []pendingEntry       // entries that wait for the suspects
	suspects []rivals.Suspect
	known    bool // whether the newest scan was complete
	count    int
	newest   sources.Optional[clock.Intrusion]
	callers  callers
}

// pendingEntry waits for the suspects, and the intrusion that it is about for its caller.
type pendingEntry struct {
	entry     Entry
	since     timescale.Instant
	intrusion sources.Optional[clock.Intrusion]
}

// OwnershipStatus is how the clock's owner stands to others who write to it.
type OwnershipStatus struct {
	// Answer is as configured: defend, hold or yield; Stance what is done now: defending, holding or
	// yielded.
	Answer string    `json:"answer"`
	Stance string    `json:"stance"`
	Since  time.Time `json:"since"`
	// Attempts is how often the clock was put right since strangers were last quiet, of MaxAttempts.
	Attempts    int `json:"attempts"`
	MaxAttempts int `json:"max_attempts"`
	// Intrusions counts what others did to the clock; Last is the newest, At when it showed.
	Intrusions int                         `json:"intrusions"`
	Last       string                      `json:"last"`
	LastAt     sources.Optional[time.Time] `json:"last_at"`
	Suspects   []rivals.Suspect            `json:"suspects"`
	Writing    bool                        `json:"writing"`
	// Tracer is what was observed of the programs in the kernel, null where none are wanted; Callers are
	// the processes that they saw, the newest first.
	Tracer  sources.Optional[tracer.State] `json:"tracer"`
	Callers []CallerStatus                 `json:"callers"`
}

func newOwnership(c configs.Clock, r recorder, k clock.Kernel) ownership {
	o := ownership{defence: newDefence(c), kernel: k, record: r, lookout: rivals.NewLookout(rivals.NewScanner().Scan)}
	o.rivalC = o.lookout.C
	return o
}

// own starts what ownership needs beside the control loop.
func (s *Supervisor) own(ctx context.Context, services *sync.WaitGroup, o *ownership) {
	services.Go(func() { o.lookout.Run(ctx) })
	if t := newTracer(s.cfg.Clock); t != nil {
		o.callers.tracer, o.callers.callC = t, t.C
		services.Go(func() { t.Run(ctx) })
	}
	if v, ok := o.kernel.(*clock.Virtual); ok && s.cfg.Clock.Virtual.Stranger != "" {
		services.Go(func() { serveStranger(ctx, s.cfg.Clock.Virtual.Stranger, v.Stranger(), s.options.Log) })
	}
	if _, ok := o.kernel.(*clock.System); !ok {
		return
	}
	o.starting = true
	o.lookout.Ask()
	w, err := clock.NewSetWatch()
	if err != nil {
		s.options.Log.Warn("a step by somebody else is noticed at the next tick only", "error", err)
		return
	}
	o.setC = w.C
	services.Go(func() {
		if err := w.Run(ctx); err != nil {
			s.options.Log.Warn("a step by somebody else is noticed at the next tick only", "error", err)
		}
	})
}

// guard reads the clock and answers what others did to it since the last reading, before anybody decides
// on where the clock is. The reading is of the clock after the answer.
func (l *loop) guard() (clock.Reading, error) {
	reading, err := l.discipline.Read()
	if err != nil {
		return reading, err
	}
	l.own.attend()
	before := l.own.defence.stance
	strangers := l.own.judge(reading.At, l.discipline.Intrusions())
	for i := range strangers {
		l.state.clock.ForeignWrites++
		l.state.clock.LastForeignWrite = strangers[i].String()
	}
	after := l.own.defence.stance
	switch {
	case after == defending && (len(strangers) > 0 || before != defending):
		err = l.discipline.Undo(undoable(strangers))
	case after != defending && before == defending && leftToUs(strangers):
		// What was being slewed must not run on while nobody looks after it.
		err = l.discipline.Release()
	default:
		return reading, nil
	}
	if err != nil {
		l.writerFailed(err)
	}
	return l.discipline.Read()
}

// undoable is the sum of the foreign steps and changes of frequency that are taken back at once.
func undoable(strangers []clock.Intrusion) (step time.Duration, ratePPB float64) {
	for _, i := range strangers {
		switch {
		case i.What == clock.StepMade && i.Amount.Abs() >= max(undoFloor, undoCertainty*i.Uncertainty):
			step += i.Amount
		case i.What == clock.FrequencyWritten:
			ratePPB += i.RatePPB
		}
	}
	return step, ratePPB
}

// leftToUs reports whether the frequency in force is still ours.
func leftToUs(strangers []clock.Intrusion) bool {
	return !slices.ContainsFunc(strangers, func(i clock.Intrusion) bool {
		return i.What == clock.FrequencyWritten || i.What == clock.SettingsWritten
	})
}

// judge notes moves of the clock and returns those by strangers.
func (o *ownership) judge(now timescale.Instant, moves []clock.Intrusion) []clock.Intrusion {
	o.flush(now, false)
	var strangers []clock.Intrusion
	for _, m := range moves {
		if m.What.Stranger() {
			strangers = append(strangers, m)
		} else {
			o.record.kernelMove(m)
		}
	}
	if len(strangers) == 0 {
		quiet := o.defence.patience()
		if o.defence.calm(now) {
			o.record.stance(o.defence, fmt.Sprintf("nobody else has written to the clock for %s; it is ours again", quiet))
		}
		return nil
	}
	if o.lookout != nil {
		o.lookout.Ask()
	}
	o.count += len(strangers)
	o.newest = sources.Some(strangers[len(strangers)-1])
	was := o.defence.stance
	changed := o.defence.intruded(now)
	if was == defending {
		for _, m := range strangers {
			o.wait(now, foreignEntry(m, o.defence), sources.Some(m))
		}
	}
	if changed {
		o.wait(now, stanceEntry(o.defence, why(o.defence)), o.newest)
	}
	return strangers
}

func why(d defence) string {
	switch {
	case d.stance == yielded:
		return `clock.foreign_write = "yield": the clock is left to whoever writes to it, until a restart`
	case d.answer == "hold":
		return fmt.Sprintf("clock.foreign_write = \"hold\": nothing is written until nobody else has written for %s", d.patience())
	}
	return fmt.Sprintf("the clock was put right %d times and is written to again: a fight; nothing is written until nobody else has written for %s", d.attempts, d.patience())
}

// wait keeps an entry until the suspects are known.
func (o *ownership) wait(now timescale.Instant, e Entry, about sources.Optional[clock.Intrusion]) {
	if len(o.pending) == maxPending {
		o.flush(now, true)
	}
	o.pending = append(o.pending, pendingEntry{entry: e, since: now, intrusion: about})
}

// found takes the lookout's result.
func (o *ownership) found(now timescale.Instant, r rivals.Result) {
	if r.Err != nil {
		o.record.log.Warn("rivals not completely known", "error", r.Err)
	}
	o.suspects, o.known = suspicious(r.Suspects), r.Err == nil
	if o.starting && len(o.suspects) > 0 {
		o.record.rivals(o.suspects)
	}
	o.starting = false
	o.flush(now, true)
}

// suspicious leaves out what is suspected for being root's alone.
func suspicious(list []rivals.Suspect) []rivals.Suspect {
	n := slices.IndexFunc(list, func(s rivals.Suspect) bool { return s.Weight <= rivals.WeightRoot })
	if n < 0 {
		n = len(list)
	}
	return slices.Clone(list[:min(n, maxSuspects)])
}

// flush writes the entries that have waited long enough, or all.
func (o *ownership) flush(now timescale.Instant, all bool) {
	n := 0
	for n < len(o.pending) && (all || now.Sub(o.pending[n].since) > suspectsWait) {
		o.record.write(o.attribute(o.pending[n], o.known && all))
		n++
	}
	o.pending = slices.Delete(o.pending, 0, n)
}

// attribute names in an entry who did it: the caller where it is known, else suspects.
func (o *ownership) attribute(p pendingEntry, known bool) Entry {
	m, ok := p.intrusion.Get()
	if !ok {
		return accuse(p.entry, o.suspects, known)
	}
	if found := o.callers.culprits(m); len(found) > 0 {
		return convict(p.entry, found)
	}
	if why := o.callers.untraced(); why != "" {
		p.entry.Message += "; " + why
	}
	return accuse(p.entry, o.suspects, known)
}

// permit takes from a decision what is not done while the clock is not ours to write.
func (o *ownership) permit(d arbiter.Decision) arbiter.Decision {
	if o.defence.stance == defending {
		return d
	}
	d.Step = sources.None[time.Duration]()
	d.Events = slices.DeleteFunc(slices.Clone(d.Events), func(e arbiter.Event) bool { return e.Kind == arbiter.StepOrdered })
	return d
}

// restrain is the discipline's input as far as the clock is ours to write.
func (o *ownership) restrain(in clock.TickInput) clock.TickInput {
	if o.defence.stance != defending {
		in.Hold, in.Synchronised = true, false
	}
	return in
}

// faults says in status that the clock is not steered.
func (o *ownership) faults() []string {
	if o.defence.stance == defending {
		return nil
	}
	return []string{"foreign-writer: " + o.defence.stance.String() + ": " + why(o.defence)}
}

func (o *ownership) status() OwnershipStatus {
	d := o.defence
	st := OwnershipStatus{
		Answer: d.answer, Stance: d.stance.String(), Since: d.since.Near(), Attempts: d.made, MaxAttempts: d.attempts,
		Intrusions: o.count, Suspects: o.suspects, Writing: d.stance == defending,
	}
	if i, ok := o.newest.Get(); ok {
		st.Last, st.LastAt = i.String(), sources.Some(i.When.Near())
	}
	st.Tracer, st.Callers = o.callers.status()
	return st
}

// foreignEntry is the journal's word on what a stranger did.
func foreignEntry(m clock.Intrusion, d defence) Entry {
	answer := "put right at once"
	switch d.stance {
	case defending:
		answer += fmt.Sprintf(" (%d of %d)", d.made, d.attempts)
	case holding:
		answer = "not put right"
	case yielded:
		answer = "left as it is"
	}
	fields := map[string]string{
		"EVENT": "foreign-write", "WHAT": m.What.String(), "REASON": m.Evidence, "ANSWER": d.stance.String(),
		"DETECTED_AT": m.When.Near().UTC().Format(time.RFC3339Nano),
	}
	if m.Amount != 0 {
		fields["AMOUNT_NS"] = strconv.FormatInt(int64(m.Amount), 10)
	}
	if m.RatePPB != 0 {
		fields["RATE_PPB"] = strconv.FormatFloat(math.Round(m.RatePPB*10)/10, 'f', -1, 64)
	}
	return Entry{
		Message: fmt.Sprintf("Somebody else wrote to the system clock: %s; %s", m, answer), Priority: PriorityError,
		ID: MessageForeignWrite, Fields: fields,
	}
}

func stanceEntry(d defence, reason string) Entry {
	priority := PriorityError
	if d.stance == defending {
		priority = PriorityNotice
	}
	return Entry{
		Message: fmt.Sprintf("Ownership of the clock: %s: %s", d.stance, reason), Priority: priority, ID: MessageOwnership,
		Fields: map[string]string{"EVENT": "ownership", "TO": d.stance.String(), "REASON": reason},
	}
}

// accuse adds the likeliest suspect to an entry, and the number of others. known says that there was a
// complete scan since.
func accuse(e Entry, suspects []rivals.Suspect, known bool) Entry {
	switch {
	case len(suspects) > 0:
	case !known:
		e.Message += "; who could have been it is not known: the processes could not be looked at in time"
		return e
	default:
		e.Message += "; no suspect runs now but what root runs: a program that has ended (date, hwclock), or the hypervisor"
		return e
	}
	s := suspects[0]
	e.Message += "; likeliest: " + s.String() + ": " + s.Reason
	if n := len(suspects) - 1; n > 0 {
		e.Message += fmt.Sprintf("; %d more in `clockarbiter status`", n)
	}
	e.Fields["SUSPECT"], e.Fields["SUSPECT_PID"], e.Fields["SUSPECT_REASON"] = s.Name, strconv.Itoa(s.PID), s.Reason
	for key, value := range map[string]string{"SUSPECT_UNIT": s.Unit, "SUSPECT_COMMAND": s.Command, "CONTAINER": s.Container} {
		if value != "" {
			e.Fields[key] = value
		}
	}
	return e
}

func (r recorder) stance(d defence, reason string) { r.write(stanceEntry(d, reason)) }

// kernelMove journals what the kernel did by itself.
func (r recorder) kernelMove(m clock.Intrusion) {
	r.write(Entry{
		Message: "The kernel moved the clock: " + m.String(), Priority: PriorityNotice, ID: MessageKernelMove,
		Fields: map[string]string{
			"EVENT": m.What.String(), "REASON": m.Evidence, "AMOUNT_NS": strconv.FormatInt(int64(m.Amount), 10),
		},
	})
}

// rivals journals at start who could write to the clock beside us.
func (r recorder) rivals(list []rivals.Suspect) {
	var names string
	for _, s := range list {
		names += "; " + s.String() + ": " + s.Reason
	}
	r.write(accuse(Entry{
		Message: fmt.Sprintf("%d process(es) could write to the clock beside us%s", len(list), names), Priority: PriorityWarning,
		ID: MessageRivals, Fields: map[string]string{"EVENT": "rivals", "REASON": names[2:]},
	}, list[:1], true))
}
