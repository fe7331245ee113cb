// Package chrony runs chronyd as an NTP measuring engine: it renders a private configuration,
// reads what chronyd measures, and feeds chronyd the system clock as its reference.
//
// It never touches the system clock, and the chronyd that it describes cannot: Argv always has -x.
//
// # How a sample gets here
//
// Every server is noselect and the only reference is a SOCK reference clock that Feed feeds with
// offset 0. chronyd's virtual ("cooked") clock then never departs from CLOCK_REALTIME and its
// samples are raw. Where the counters of a source have moved, Monitor asks for `dump`, reads the
// .dat file of each source, and turns each new line into a sources.Sample on L. Should chronyd's
// clock depart from CLOCK_REALTIME all the same, `tracking` says so and no sample of that poll is
// used.
//
// # Sign
//
// A dump file says local - source, positive: the local side is fast. sources.Sample says source -
// local, positive: the local side is slow. NewSample converts; everything after it has one sign.
//
// # Who owns which error
//
// chronyd adds the peer's part to the root values before it stores a sample: root delay in a dump
// = root delay in the packet + peer delay, and the same for the dispersion. DumpSample.RootDelay
// and RootDispersion are kept as they stand in the file; NewSample subtracts, so that
// Quality.RootDelay and Quality.RootDispersion lead from the server to its reference only, and
// Delay and Dispersion from here to the server. The error of a sample is
// (Delay + RootDelay)/2 + Dispersion + RootDispersion, and counts nothing twice.
//
// # The private directory
//
// Config.Dir holds chrony.conf, both sockets, the pid file and dump/. It belongs to the user (and
// the group) that chronyd runs as and must not be open to others, mode 0750 or 0770; otherwise
// chronyd logs "Disabled command socket", runs on, and Monitor reports every source Unreachable.
// Whoever runs Monitor and Feed needs search and write permission there (root with
// CAP_DAC_OVERRIDE, or the same group with mode 0770), and a umask that lets chronyd's files be
// read. Paths of Unix sockets hold 107 bytes; a longer Dir is refused by Render.
//
// # AppArmor
//
// Debian and Ubuntu confine /usr/sbin/chronyd. Their profile lets it read /etc/chrony/**, and read
// and write in /var/lib/chrony/, /var/log/chrony/ and /run/chrony/ one level deep: a Dir elsewhere,
// and dump/ inside any of them, is refused with EACCES. Where the profile is enforced, add this to
// /etc/apparmor.d/local/usr.sbin.chronyd and reload it (Dir being /run/clockarbiter/chrony):
//
//	/run/clockarbiter/chrony/ rw,
//	/run/clockarbiter/chrony/** rw,
//
// The profile also names capabilities that chronyd does not have here; that grants nothing.
package chrony
