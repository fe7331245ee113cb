#!/usr/bin/env bash
# Sets up what the tests and the demo need besides Go: chronyd, ptp4l, and a C compiler for the race
# detector. What is there already is used.
#
#   scripts/tools.sh DIR [PROGRAM...]
#
# chrony and linuxptp are unpacked into DIR and not installed: Debian's packages start daemons, and chrony's
# takes the place of the host's time service. No clock of the host is to be touched. Only the shared
# libraries that they need, and other missing programs, are installed.
set -euo pipefail

usage="usage: tools.sh DIR [PROGRAM...]"
dir=${1:?$usage}
shift
programs=("$@")
PATH=$dir/usr/sbin:$dir/usr/bin:$PATH:/usr/sbin:/sbin
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

# package PROGRAM: the Debian package that has it.
package() {
	case $1 in
	chronyd) echo chrony ;;
	ptp4l) echo linuxptp ;;
	gcc) echo gcc libc6-dev ;;
	setpriv) echo util-linux ;;
	systemd-analyze) echo systemd ;;
	*) echo "$1" ;;
	esac
}

# daemon PACKAGE: whether installing it would start a time service, or take over the host.
daemon() {
	[[ $1 == chrony || $1 == linuxptp || $1 == systemd ]]
}

die() {
	echo "tools.sh: $*" >&2
	exit 1
}

apt_ready=
apt() {
	[[ $EUID -eq 0 ]] || die "missing: ${missing[*]}; run this as root to fetch the packages, or install them yourself"
	command -v apt-get >/dev/null || die "missing: ${missing[*]}; without apt-get they are yours to install"
	if [[ -z $apt_ready ]]; then
		apt-get update -qq || echo "tools.sh: apt-get update had errors, going on with the lists there are" >&2
		apt_ready=yes
	fi
	"$@"
}

fetch() {
	apt apt-get install -qq -y --no-install-recommends --no-upgrade "$@"
}

# unpack PACKAGE: its files into DIR, and the libraries that they need.
unpack() {
	local libraries
	mkdir -p "$dir/packages"
	(cd "$dir/packages" && rm -f "$1"_*.deb && apt apt-get download -qq -o APT::Sandbox::User=root "$1")
	dpkg-deb -x "$dir/packages/$1"_*.deb "$dir"
	mapfile -t libraries < <(apt-cache depends "$1" | sed -n 's/^ *Depends: \(lib.*\)/\1/p')
	fetch "${libraries[@]}"
}

missing=()
for program in "${programs[@]}"; do
	command -v "$program" >/dev/null || missing+=("$program")
done
for program in "${missing[@]}"; do
	for name in $(package "$program"); do
		echo "tools.sh: $program is missing, fetching Debian's package $name"
		if daemon "$name"; then unpack "$name"; else fetch "$name"; fi
	done
done
for program in "${missing[@]}"; do
	command -v "$program" >/dev/null || die "$program is still missing"
done
