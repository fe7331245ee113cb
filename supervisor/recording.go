package supervisor

import (
	"encoding/json"
	"fmt"

	"clockarbiter/arbiter"
	"clockarbiter/arbiter/roster"
	"clockarbiter/clock"
	"clockarbiter/configs"
	"clockarbiter/recording"
	"clockarbiter/sources"
)

// roster is the plan as far as the arbitration is concerned.
func (p Plan) roster() []roster.Planned {
	out := make([]roster.Planned, 0, len(p.Sources))
	for _, s := range p.Sources {
		out = append(out, roster.Planned{ID: s.ID, Pool: s.Pool, Kind: s.Kind, Options: s.Options})
	}
	return out
}

// Arbitration is a configuration as far as the arbitration is concerned, for what-if.
func Arbitration(cfg *configs.Config) recording.Other {
	return recording.Other{Plan: NewPlan(cfg, Facts{}).roster(), Thresholds: arbiterConfig(cfg)}
}

// newest is what `clockarbiter why` explains.
func (l *loop) newest(in arbiter.Input, d arbiter.Decision, r clock.TickReport) recording.Found {
	in.Candidates, d.Target = nil, sources.None[sources.Estimate]()
	return recording.Found{
		ID: l.record.id(d), Kind: recording.KindOf(d), Applied: r.Applied, Input: in, Decision: d, Until: in.Now,
	}
}

// startRecording records what the loop is given and decides, where it is configured. A directory that
// cannot be used is journalled and costs the recording alone.
func (s *Supervisor) startRecording(l *loop) (stop func()) {
	c := s.cfg.Record
	if !c.Enabled {
		return func() {}
	}
	tape, err := recording.Open(recording.Options{
		Dir: c.Dir, MaxSize: int64(c.MaxSizeMiB) << 20, Keep: c.Keep,
		Header: recordingHeader(s.cfg, s.options.Version, l), Failed: func(err error) { s.record.notRecorded(err, "recording is tried again every minute") },
	})
	if err != nil {
		s.record.notRecorded(err, "mend it and restart the unit")
		return func() {}
	}
	l.tape = tape
	go tape.Run()
	return func() {
		if err := tape.Close(); err != nil {
			s.record.notRecorded(err, "the end of the newest file may be missing")
		}
	}
}

func recordingHeader(cfg *configs.Config, version string, l *loop) recording.Header {
	h := recording.Header{
		Version: version, Revision: recording.Revision(), Boot: l.record.boot, Started: l.now(),
		Thresholds: arbiterConfig(cfg), Plan: l.plan.roster(),
	}
	if text, err := json.Marshal(cfg); err == nil {
		h.Configuration = text // for people; a replay takes thresholds and plan
	}
	return h
}

// notRecorded journals a failure of the recording and what becomes of it.
func (r recorder) notRecorded(err error, next string) {
	r.write(Entry{
		Message:  fmt.Sprintf("Decisions are not recorded: %v; the clock is steered as before, %s", err, next),
		Priority: PriorityWarning, ID: MessageNotRecorded,
		Fields: map[string]string{"EVENT": "not-recorded", "REASON": err.Error()},
	})
}
