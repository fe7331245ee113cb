package supervisor

import "clockarbiter/arbiter"

// Advice says what to do about a named fault, to somebody who is woken up by it. The journal carries it
// as ADVICE, from where the catalog shows it, and `clockarbiter why` prints it. It is empty for a fault
// that is not known.
func Advice(fault string) string {
	if a := adviceOnSource(fault); a != "" {
		return a
	}
	return adviceOnHost(fault)
}

// adviceOnSource is about one source.
func adviceOnSource(fault string) string {
	switch fault {
	case arbiter.FaultUTCOffset:
		return "The source serves TAI for UTC, or its UTC offset is not flagged valid. Mend currentUtcOffset and currentUtcOffsetValid on the grandmaster, or set utc_offset for the interface."
	case arbiter.FaultFalseticker:
		return "The majority contradicts the source. Nothing follows it, so there is no hurry: ask its operator, check its path for asymmetry, and remove it if it stays wrong."
	case arbiter.FaultFrozen:
		return "The engine runs and its figures stand still. Look at the engine's log (journalctl -u clockarbiter), at the link and at the PHC; clockarbiter uses the source again with the first new sample."
	case arbiter.FaultJump:
		return "The source jumped and this host's oscillator and the other sources did not. Ask what happened to it at this time: a reference lost, a restart, another path. It is believed again once it has settled or returned."
	case arbiter.FaultDrift:
		return "The source leaves the others slowly. Look for a lost reference (GNSS antenna, grandmaster in holdover) or for a servo that steers its hardware clock wrongly."
	case arbiter.FaultPath:
		return "Delay and offset moved together: the packets take another route. Check routing, link aggregation and the switches between; a lasting asymmetry can be configured for the source."
	case arbiter.FaultGrandmaster:
		return "Another grandmaster was elected. If that was not planned, look at the old one, and at who announces with a better priority than it should."
	case arbiter.FaultDegraded:
		return "The grandmaster itself says that it is worse than before: most often it has lost its GNSS signal. Check its antenna and how long its holdover is specified for."
	case arbiter.FaultFuture:
		return "A sample carries an instant that has not come yet. Look at the driver of the network card, at the PHC and at the engine's log; such samples are not used."
	case arbiter.FaultCongestion:
		return "Packets to the source queue longer than they did. Look at the load of the links between and give time packets priority; the estimate is less certain meanwhile."
	case arbiter.FaultLoop:
		return "The server takes its time from a server that takes it from there. Break the loop: remove one of the two, or give one of them another source."
	case arbiter.FaultDate:
		return "The source says a date that cannot be. Check its receiver for a GPS week rollover (1024 weeks) and its battery-backed clock; check the configured limits if the date is right."
	case arbiter.FaultReset:
		return "The hardware clock started again, as after a link-down or a reset of the card. It recovers when ptp4l has set it; if it repeats, look at the card's firmware and driver."
	case arbiter.FaultSmear:
		return "The server smears the leap second and the others do not. Never mix the two kinds: remove the one or the other, for all hosts alike."
	default:
		return ""
	}
}

// adviceOnHost is about this host, or about the sources as a whole.
func adviceOnHost(fault string) string {
	switch fault {
	case arbiter.FaultDisagreement:
		return "Two sources contradict each other and there is no third to tell who is right. Add a third, independent one; until then arbiter.disagreement says what is done."
	case arbiter.FaultNoMajority:
		return "The sources fall into camps and none has a majority. Find out with `clockarbiter status` which of them are right, and remove the others or mark the trustworthy ones with trust."
	case arbiter.FaultLeap:
		return "The sources, or the leap second table of this host, contradict each other on the leap second at the end of the month or on TAI - UTC. Most votes win, the table's breaks a tie. Compare with IERS Bulletin C, and mend or remove what is wrong before the end of the month."
	case arbiter.FaultTable:
		return "Update tzdata, or name a good leap-seconds.list in arbiter.leap_table. Until then the sources alone say whether there is a leap second."
	case arbiter.FaultMajority:
		return "Most sources moved at once against this host's oscillator. Look for what they share: one grandmaster, one GNSS antenna, one upstream server, one path."
	case arbiter.FaultPaused:
		return "This process or the whole virtual machine did not run for a while. Look for a snapshot, a migration, a suspend or an overload; the sources are measured anew, nothing has to be done."
	case arbiter.FaultLocalJump:
		return "This host's own timescale jumped. After a suspend or a migration that is expected; else check the kernel's clocksource (/sys/devices/system/clocksource) and the log for an unstable TSC."
	case arbiter.FaultRate:
		return "This host's oscillator changed its frequency. Look for a jump of the temperature (fan, load), a migration of the virtual machine, or another clocksource in the kernel's log."
	case arbiter.FaultPanic:
		return "The clock is off by more than clock.step.panic, and is left alone. If the sources are right (compare with a clock that you trust), restart the unit: it may step at start."
	case faultForeignWriter:
		return "Somebody else writes to this clock, and clockarbiter does not at present. `clockarbiter doctor` and the suspects in `clockarbiter status` tell who may be it: stop that one, then the clock is taken back, by a restart if it was yielded."
	default:
		return ""
	}
}

// faultForeignWriter is the supervisor's own: the arbiter knows nothing of who else writes.
const faultForeignWriter = "foreign-writer"

// RuleMeaning explains the rule that decided; it is empty for a rule that is not known.
func RuleMeaning(rule string) string {
	switch rule {
	case arbiter.RuleNoSource:
		return "no source can be used"
	case arbiter.RuleNoMajority:
		return "the sources contradict each other, and no majority says who is right"
	case arbiter.RuleDisagreement:
		return "two sources contradict each other, and there is no third"
	case arbiter.RuleWitness:
		return "two sources contradict each other, and the local oscillator tells which of them moved"
	case arbiter.RuleMinSources:
		return "fewer sources agree than arbiter.min_sources wants"
	case arbiter.RuleRequire:
		return "none of the sources marked require is believed"
	case arbiter.RuleSettling:
		return "the sources that are believed are too new to be followed"
	case arbiter.RuleBest:
		return "nothing was followed, so the best source is taken"
	case arbiter.RuleIncumbent:
		return "the source that was followed stays, because no other is better by enough for long enough"
	case arbiter.RuleHardLoss:
		return "the source that was followed cannot be used any more, so the next best is taken at once"
	case arbiter.RuleDegradation:
		return "the source that was followed has worsened for longer than arbiter.degradation_hold"
	case arbiter.RuleImprovement:
		return "another source has been better for longer than arbiter.improvement_hold"
	case arbiter.RuleReturned:
		return "the source that was followed before a restart is heard again, and is taken back at once"
	case arbiter.RuleAgreement:
		return "the clock has to be stepped, and other sources have yet to agree to it"
	case arbiter.RulePanic:
		return "the error is larger than clock.step.panic, so nothing is corrected"
	default:
		return ""
	}
}
