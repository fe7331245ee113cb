package supervisor

import (
	"clockarbiter/arbiter/roster"
)

// roster is the plan as far as the arbitration is concerned.
func (p Plan) roster() []roster.Planned {
	out := make([]roster.Planned, 0, len(p.Sources))
	for _, s := range p.Sources {
		out = append(out, roster.Planned{ID: s.ID, Pool: s.Pool, Kind: s.Kind, Options: s.Options})
	}
	return out
}
