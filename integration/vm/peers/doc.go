// Package peers measures clockarbiter beside what hosts run today, in the guest of package vm: the same
// world, the same oscillator, the same gauge, in virtual time. make bench-peers runs all of it and
// writes docs/benchmark-peers.md; a short form asserts the ratios in make test-vm.
//
// One grandmaster (gmB of package vm, which can lie) is what every peer follows, over the same interface;
// three NTP servers serve the truth, which is gmA's PHC. Each run begins in a fresh guest.
package peers
