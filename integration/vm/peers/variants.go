package peers

import "fmt"

// variant is a difference in configuration. The first of each peer is in the table of all figures.
type variant struct{ name, lines string }

func timemasterVariants() []variant {
	return []variant{
		{"its defaults", ""},
		{"ntp_poll 0, phc2sys_poll -2, delay 10e-6: its manual's example", "ntp_poll 0\nphc2sys_poll -2\ndelay 10e-6"},
	}
}

func phc2sysVariants() []variant {
	return []variant{
		{"defaults", ""},
		{"-R 8", "-R 8"},
		{"-E linreg", "-E linreg"},
	}
}

// chronydVariants are options of the reference clock. The grandmaster serves TAI, hence the offset.
func chronydVariants() []variant {
	var out []variant
	for _, options := range []string{
		"poll 0 dpoll -2", // the manual's example
		"poll 2 dpoll -2",
		"poll 3 dpoll -2",
		"poll 0 dpoll -4",
		"poll 0 dpoll -2 minsamples 32",
		"poll 2 dpoll 0",
	} {
		lines := fmt.Sprintf("%s offset -37 precision 1e-9 prefer", options)
		out = append(out, variant{options, lines})
	}
	return out
}

// The names of variants begin with these.
const (
	asTimemaster = "timemaster: "
	asPHC2Sys    = "phc2sys: "
	asChronyd    = "chronyd: "
)

// Variants are the peers of the comparison of variants, and clockarbiter, which has but one.
func Variants() []Peer {
	out := []Peer{clockarbiter()}
	for _, v := range timemasterVariants() {
		out = append(out, timemaster(asTimemaster+v.name, v))
	}
	for _, v := range phc2sysVariants() {
		out = append(out, phc2sys(asPHC2Sys+v.name, v))
	}
	for _, v := range chronydVariants() {
		out = append(out, chronyd(asChronyd+v.name, v))
	}
	return out
}
