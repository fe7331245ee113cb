package peers

import "fmt"

// variant is a difference in configuration that was tried once; the table has the best.
type variant struct{ name, lines string }

var (
	bestTimemaster = timemasterVariants()[0]
	bestPHC2Sys    = phc2sysVariants()[0]
	bestChronyd    = chronydVariants()[0]
)

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

// Variants are the peers of the comparison of variants.
func Variants() []Peer {
	var out []Peer
	for _, v := range timemasterVariants() {
		out = append(out, timemaster("timemaster: "+v.name, v))
	}
	for _, v := range phc2sysVariants() {
		out = append(out, phc2sys("phc2sys: "+v.name, v))
	}
	for _, v := range chronydVariants() {
		out = append(out, chronyd("chronyd: "+v.name, v))
	}
	return out
}
