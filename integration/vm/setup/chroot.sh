#!/usr/bin/env bash
# Makes a Debian chroot in the cache that has everything needed to build QEMU and the guest's image,
# so that the machine itself needs apt and nothing else, and stays as it is.
. "$(dirname "$0")/common.sh"

packages=gcc,libc6-dev,make,ninja-build,meson,python3,python3-venv,python3-pycotap,pkg-config,bzip2
packages+=,libglib2.0-dev,libslirp-dev,libfdt-dev,zlib1g-dev,dpkg-dev,patch,xz-utils,zstd
packages+=,seabios,qemu-system-data,mmdebstrap,kmod,cpio,e2fsprogs,busybox-static,openssh-client,ansible-core

root=$cache/chroot-$(key "$here/chroot.sh")
if [[ $1 == path ]]; then
	echo "$root"
	exit
fi
[[ $EUID -eq 0 ]] || die "a chroot needs root"
[[ -e $root/made ]] && exit

# mmdebstrap itself is one Perl program: unpacked, not installed.
get_mmdebstrap() {
	mkdir -p "$cache/mmdebstrap"
	cd "$cache/mmdebstrap"
	command -v mmdebstrap && return
	[[ -x usr/bin/mmdebstrap ]] && return
	apt-get download -qq mmdebstrap || { apt-get update && apt-get download -qq mmdebstrap; }
	dpkg-deb -x mmdebstrap_*.deb .
}

make_chroot() {
	local archive
	archive=$(mirror)
	rm -rf "$root"
	PATH=$PATH:$cache/mmdebstrap/usr/bin $quietly mmdebstrap --variant=apt --mode=root --include="$packages" \
		--aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"$suite" "$root" "deb $archive $suite main" "deb-src $archive $suite main"
	cp /etc/resolv.conf "$root/etc/resolv.conf"
	touch "$root/made"
}

step "mmdebstrap" get_mmdebstrap
step "build chroot ($suite)" make_chroot
