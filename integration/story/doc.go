// Package story plays one story with the real daemons and measures it: a clock that is wrong is brought
// right, its grandmaster dies and comes back, and an NTP server begins to lie.
//
// The truth is CLOCK_REALTIME: the grandmaster and the servers serve it, the supervisor steers a virtual
// clock that departs from it, and the difference of the two is the true error. Nothing adjusts a clock of
// the machine. It plays in a world of package namespaces.
package story
