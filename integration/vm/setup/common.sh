# Sourced by the set-up scripts: where things are kept, and how they are keyed.
#
# CLOCKARBITER_CACHE   where the builds are kept (default ~/.cache/clockarbiter)
# DEBIAN_MIRROR        a Debian mirror (default: the one that this machine's apt uses)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CLOCKARBITER_CACHE:-$HOME/.cache/clockarbiter}/vm
suite=trixie
quietly="nice -n 19"

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# key FILE...: a name for what is built from these files.
key() {
	cat "$@" | sha256sum | cut -c1-16
}

# mirror: the Debian archive that apt on this machine uses, without its trailing slash.
mirror() {
	if [[ -n ${DEBIAN_MIRROR:-} ]]; then
		echo "${DEBIAN_MIRROR%/}"
		return
	fi
	local uri
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
	[[ -n $uri ]] || die "apt on this machine names no Debian mirror: set DEBIAN_MIRROR"
	echo "${uri%/}"
}

# step TEXT COMMAND...: run it, its output in a log, and say how long it took.
step() {
	local text=$1 start=$SECONDS log
	shift
	log=$cache/log/$(tr -cs '[:alnum:]\n' - <<<"$text").log
	mkdir -p "$cache/log"
	if ! "$@" >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		die "$text: see $log"
	fi
	echo "set-up: $text: $((SECONDS - start)) s"
}
