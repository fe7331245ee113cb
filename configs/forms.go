package configs

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Every string ends up as a word in chrony.conf, ptp4l.conf or an argv. The forms are therefore
// narrower than what the programs would take: nothing that passes can begin a line, a section, a
// comment or a second word.

var (
	userForm     = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	programForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	pathForm     = regexp.MustCompile(`^/[A-Za-z0-9._+@:,=~/-]*$`)
	ifaceForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,14}$`)
	labelForm    = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)
	optionForm   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]*$`)
	allDigits    = regexp.MustCompile(`^[0-9]+$`)
	hexadecimal  = regexp.MustCompile(`^0[xX][0-9A-Fa-f]*$`)
	canonicalInt = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
)

// isPlain reports whether s is free of what could end a line or a quoted word in a rendered file.
func isPlain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune("\"'`", r)
	}) < 0
}

func isUser(s string) bool { return userForm.MatchString(s) }

func isPath(s string) bool { return pathForm.MatchString(s) }

func isProgram(s string) bool { return isPath(s) && s != "/" || programForm.MatchString(s) }

// isInterface is stricter than the kernel's dev_valid_name, which would let "[" and "#" through;
// "global" would be ptp4l's section of that name.
func isInterface(s string) bool { return ifaceForm.MatchString(s) && s != "global" }

func isUTCOffset(s string) bool {
	if s == "advertised" {
		return true
	}
	n, err := strconv.Atoi(s)
	return err == nil && canonicalInt.MatchString(s) && n <= 255
}

// isDate accepts a calendar day, or nothing for no limit.
func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil || s == ""
}

func isLeapTable(s string) bool { return s == "auto" || s == "none" || isPath(s) }

// isHost accepts an IP address, with a zone that is an interface name, or a host name (RFC 1123
// 2.1, and "_" as seen in the wild).
func isHost(s string) bool {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Zone() == "" || isInterface(addr.Zone())
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, label := range labels {
		if !labelForm.MatchString(label) {
			return false
		}
	}
	// "192.0.2.300" is a mistyped address, not a name (RFC 1123 2.1): no top-level domain is a
	// number, and some resolvers read one as an address of inet_aton.
	last := labels[len(labels)-1]
	return len(s) <= 253 && !allDigits.MatchString(last) && !hexadecimal.MatchString(last)
}

func isSubnet(s string) bool {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Zone() == ""
	}
	prefix, err := netip.ParsePrefix(s)
	return err == nil && prefix == prefix.Masked()
}

// isUnicastMaster reports whether ptp4l can use s as a unicast master over the transport.
func isUnicastMaster(s, transport string) bool {
	if transport == "L2" {
		mac, err := net.ParseMAC(s)
		return err == nil && len(mac) == 6 && strings.Count(s, ":") == 5
	}
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Zone() == "" && addr.Is4() == (transport == "UDPv4") && !addr.IsMulticast() && !addr.IsUnspecified()
}
