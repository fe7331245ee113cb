#!/usr/bin/env bash
# Builds Debian's QEMU with our patches into the cache: one machine model and the devices of the guest.
# The result is a directory that runs on any machine: the program, its libraries and its firmware.
. "$(dirname "$0")/common.sh"

out=$cache/qemu-$(key "$here/qemu.sh" "$here/igb.patch" "$here/idle.patch" "$here/chroot.sh")
if [[ $1 == path ]]; then
	echo "$out"
	exit
fi
[[ -e $out/made ]] && exit
"$here/chroot.sh" make
root=$("$here/chroot.sh" path)
# The code of igb needs that of e1000e.
devices=(Q35 IGB_PCI_EXPRESS E1000E_PCI_EXPRESS VIRTIO_PCI VIRTIO_BLK VIRTIO_NET VIRTIO_RNG VIRTIO_SERIAL PCIE_PORT SERIAL_ISA HPET)

inside() {
	$quietly chroot "$root" /bin/sh -ec "$1"
}

get_source() {
	rm -rf "$root/src"
	mkdir -p "$root/src"
	inside 'cd /src && apt-get update && apt-get source -qq qemu && mv qemu-*/ qemu'
	cat "$here/igb.patch" "$here/idle.patch" | patch -p1 -d "$root/src/qemu"
	# The firmware comes from Debian's packages.
	sed -i 's/^if unpack_edk2_blobs/if false/' "$root/src/qemu/pc-bios/meson.build"
	printf 'CONFIG_%s=y\n' "${devices[@]}" >"$root/src/qemu/configs/devices/x86_64-softmmu/clockarbiter.mak"
}

# One compiler at a time: who sets up beside running tests must not disturb them.
compile() {
	inside 'mkdir -p /src/qemu/build && cd /src/qemu/build
		../configure --target-list=x86_64-softmmu --without-default-features --without-default-devices \
			--with-devices-x86_64=clockarbiter --enable-system --enable-tcg --enable-slirp --enable-trace-backends=nop \
			--disable-werror --disable-docs --enable-tools --disable-debug-info --disable-install-blobs
		ninja -j'"${JOBS:-1}"' qemu-system-x86_64 qemu-img'
}

# bundle copies the programs with their libraries and the loader of the chroot, which may be newer
# than this machine's.
bundle() {
	local tmp=$out.tmp program
	rm -rf "$tmp"
	mkdir -p "$tmp/lib" "$tmp/bin" "$tmp/share"
	for program in qemu-system-x86_64 qemu-img; do
		cp "$root/src/qemu/build/$program" "$tmp/lib/$program"
		inside "strip -o /src/$program.stripped /src/qemu/build/$program"
		mv "$root/src/$program.stripped" "$tmp/lib/$program"
		inside "ldd /src/qemu/build/$program" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' | while read -r library; do
			cp -L "$root$library" "$tmp/lib/"
		done
		printf '#!/bin/sh\nd=$(dirname "$(dirname "$(readlink -f "$0")")")\nexec "$d/lib/ld.so" --library-path "$d/lib" "$d/lib/%s" "$@"\n' "$program" >"$tmp/bin/$program"
		chmod +x "$tmp/bin/$program"
	done
	cp -L "$root/lib64/ld-linux-x86-64.so.2" "$tmp/lib/ld.so"
	cp -L "$root/usr/share/seabios/"bios-256k.bin "$root/usr/share/qemu/"{pvh.bin,linuxboot_dma.bin,kvmvapic.bin} "$tmp/share/"
	"$tmp/bin/qemu-system-x86_64" --version
	"$tmp/bin/qemu-img" --version
	rm -rf "$root/src" "$out"
	touch "$tmp/made"
	mv "$tmp" "$out"
}

step "QEMU: source and patch" get_source
step "QEMU: compile" compile
step "QEMU: bundle" bundle
