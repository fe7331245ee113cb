package supervisor

import (
	"path/filepath"
	"time"

	"clockarbiter/chrony"
	"clockarbiter/configs"
	"clockarbiter/sources"
)

// chronyChild names the one chronyd of the plan.
const chronyChild = "chronyd"

func planChrony(cfg *configs.Config, facts Facts) Child {
	dir := filepath.Join(cfg.Paths.RunDir, chronyChild)
	cc := chrony.Config{
		Binary: facts.Chronyd.Path, Dir: dir, User: facts.ChronyUser.Name,
		Servers: chronyServers(cfg.NTP.Servers),
		Allow:   cfg.NTP.Allow, Port: cfg.NTP.Port, KeyFile: cfg.NTP.KeyFile, Extra: cfg.NTP.Extra,
	}
	c := Child{
		Name: chronyChild, Dir: dir, User: facts.ChronyUser, chrony: &cc,
		Argv: chrony.Argv(cc), Capabilities: chrony.Capabilities(cc),
		Problem: firstOf(facts.Chronyd.Problem, facts.ChronyUser.Problem),
	}
	conf, err := chrony.Render(cc)
	if err != nil {
		c.Problem = firstOf(c.Problem, err.Error())
		return c
	}
	c.Files = []File{{Path: cc.ConfigFile(), Content: conf}}
	return c
}

func chronyServers(list []configs.NTPServer) []chrony.Server {
	out := make([]chrony.Server, 0, len(list))
	for _, s := range list {
		out = append(out, chrony.Server{
			Address: s.Address, Pool: s.Pool, MaxSources: s.MaxSources,
			MinPoll: s.MinPoll, MaxPoll: s.MaxPoll, IBurst: s.IBurst, XLeave: s.XLeave, NTS: s.NTS,
			Key: s.Key, Port: s.Port, Options: s.Options,
		})
	}
	return out
}

// Age limits (the arbiter's Stale): a source is given up when so many polls in a row brought nothing.
const (
	ntpMissedPolls = 3
	ntpMinMaxAge   = 8 * time.Second
	// chronydMaxPoll is chronyd's default for maxpoll, log2 seconds.
	chronydMaxPoll = 10
)

func planNTPSources(cfg *configs.Config) []PlannedSource {
	out := make([]PlannedSource, 0, len(cfg.NTP.Servers))
	for i, s := range chronyServers(cfg.NTP.Servers) {
		id := sources.ID(s.ID())
		o := options(cfg, cfg.NTP.Servers[i].Select)
		if o.MaxAge == 0 {
			o.MaxAge = max(ntpMinMaxAge, ntpMissedPolls*slowestPoll(s))
		}
		out = append(out, PlannedSource{ID: id, Pool: s.Pool, Kind: sources.NTP, Child: chronyChild, Options: o})
	}
	return out
}

// slowestPoll is the longest interval at which chronyd polls the server.
func slowestPoll(s chrony.Server) time.Duration {
	poll := chronydMaxPoll
	if s.MaxPoll != nil {
		poll = *s.MaxPoll
	}
	if s.MinPoll != nil {
		poll = max(poll, *s.MinPoll)
	}
	return log2Seconds(poll)
}
