package arbiter

// Configure replaces the thresholds from the next step on. Everything that is remembered is kept: who is
// followed, for how long who has been better, who has to settle.
func (a *Arbiter) Configure(cfg Config) { a.cfg = cfg }
