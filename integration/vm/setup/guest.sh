#!/usr/bin/env bash
# Builds the guest into the cache: root.ext4 (Debian with systemd, linuxptp, chrony), initrd, vmlinux and
# the key for ssh. All of it is put together in the build chroot.
. "$(dirname "$0")/common.sh"

repository=$(cd "$here/../../.." && pwd)
out=$cache/guest-$(key "$here/guest.sh" "$here"/guest/* "$here/chroot.sh" "$here"/../guest/agent/*.go)
if [[ $1 == path ]]; then
	echo "$out"
	exit
fi
[[ -e $out/made ]] && exit
"$here/chroot.sh" make
root=$("$here/chroot.sh" path)
guest=$root/guest

packages=systemd,systemd-sysv,dbus,udev,linuxptp,chrony,iproute2,ethtool,kmod,openssh-server,python3,python3-apt
packages+=,procps,adjtimex,util-linux-extra,apparmor,strace
# For the root disk and the network cards, and for what tests do with the network.
boot_modules="virtio_pci virtio_blk ext4 virtio_net igb virtio_console virtio_rng"
modules="$boot_modules veth sch_netem bridge macvlan"

inside() {
	$quietly chroot "$root" /bin/bash -ec "$1"
}

make_root() {
	rm -rf "$guest"
	PATH=$PATH:$cache/mmdebstrap/usr/bin $quietly mmdebstrap --variant=apt --mode=root --include="$packages" \
		--aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$guest" "deb $(mirror) $suite main"
}

# The kernel's package is unpacked, not installed: its installation makes an initrd that takes a minute.
get_kernel() {
	inside 'rm -rf /kernel && mkdir /kernel && cd /kernel && apt-get update
		apt-get download "$(apt-cache depends linux-image-amd64 | sed -n "s/^ *Depends: //p" | head -n 1)"
		dpkg-deb -x ./*.deb . && mkdir -p lib && { [ -d lib/modules ] || mv usr/lib/modules lib/; }'
}

take_modules() {
	local target=$1
	shift
	inside 'version=$(ls /kernel/lib/modules); depmod -b /kernel "$version"; mkdir -p '"$target"'
		n=100
		for m in '"$*"'; do modprobe -d /kernel -S "$version" --show-depends "$m" 2>/dev/null | sed -n "s/^insmod \(\S*\).*/\1/p"; done |
			awk "!seen[\$0]++" | while read -r f; do
				n=$((n + 1)); name=${f##*/}; name=${name%.xz}
				case $f in *.xz) xz -dc "$f" ;; *) cat "$f" ;; esac >'"$target"'/$n-"$name"
			done'
}

# install_modules puts the modules into the guest, which finds them by their dependencies.
install_modules() {
	inside 'version=$(ls /kernel/lib/modules); into=/guest/usr/lib/modules/$version; mkdir -p "$into/kernel"
		for f in /modules/*.ko; do name=${f##*/}; cp "$f" "$into/kernel/${name#*-}"; done
		cp /kernel/lib/modules/$version/modules.{builtin,builtin.modinfo,order} "$into/"
		depmod -b /guest "$version"'
}

make_initrd() {
	rm -rf "$root/initrd" "$root/modules"
	take_modules /initrd/modules "$boot_modules"
	take_modules /modules "$modules"
	mkdir -p "$root/initrd/"{bin,dev,proc,newroot}
	cp "$root/bin/busybox" "$root/initrd/bin/"
	install -m 755 "$here/guest/init" "$root/initrd/init"
	inside 'cd /initrd && find . | cpio -o -H newc --quiet >/initrd.cpio'
	cp "$here/guest/vmlinux.py" "$root/"
	inside 'python3 /vmlinux.py /kernel/boot/vmlinuz-* /vmlinux'
}

# Units that only cost time at boot, or that touch the clock before a test asks for it.
idle_units="systemd-pstore.service systemd-firstboot.service systemd-hwdb-update.service systemd-update-utmp.service
	ldconfig.service systemd-journal-catalog-update.service serial-getty@.service getty@.service sys-kernel-debug.mount
	sys-kernel-tracing.mount dev-mqueue.mount dev-hugepages.mount apt-daily.timer apt-daily-upgrade.timer
	e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer systemd-tmpfiles-clean.timer"

configure() {
	local unit generator etc=$guest/etc
	echo guest >"$etc/hostname"
	echo 0123456789abcdef0123456789abcdef >"$etc/machine-id"
	echo '/dev/vda / ext4 defaults,noatime 0 0' >"$etc/fstab"
	for unit in $idle_units; do ln -sf /dev/null "$etc/systemd/system/$unit"; done
	for unit in chrony.service ssh.socket apparmor.service; do rm -f "$etc/systemd/system/"*.wants/"$unit"; done
	# Each daemon-reload runs every generator, which takes the emulated processor two seconds.
	mkdir -p "$etc/systemd/system-generators"
	for generator in "$guest"/usr/lib/systemd/system-generators/*; do
		[[ $generator == *-fstab-generator ]] || ln -s /dev/null "$etc/systemd/system-generators/${generator##*/}"
	done
	mkdir -p "$etc/systemd/system/multi-user.target.wants" "$guest/root/.ssh"
	for unit in network agent; do
		cp "$here/guest/$unit.service" "$etc/systemd/system/guest-$unit.service"
		ln -sf "../guest-$unit.service" "$etc/systemd/system/multi-user.target.wants/"
	done
	install -m 755 "$here/guest/network" "$guest/usr/local/sbin/guest-network"
	install -m 644 "$here/guest/zipcode.py" "$guest/usr/lib/python3/dist-packages/"
	echo "import zipcode" >"$guest/usr/lib/python3/dist-packages/zipcode.pth"
	(cd "$repository" && CGO_ENABLED=0 go build -trimpath -o "$guest/usr/local/sbin/guest-agent" ./integration/vm/guest/agent)
	printf 'UseDNS no\nPermitRootLogin prohibit-password\nUsePAM no\nPrintMotd no\n' >"$etc/ssh/sshd_config.d/guest.conf"
	rm -f "$root/id" "$root/id.pub"
	inside 'ssh-keygen -q -t ed25519 -N "" -f /id'
	install -m 600 "$root/id.pub" "$guest/root/.ssh/authorized_keys"
	chmod 700 "$guest/root/.ssh"
}

make_image() {
	local tmp=$out.tmp
	rm -rf "$tmp"
	mkdir -p "$tmp"
	install_modules
	inside 'rm -f /root.ext4 && truncate -s 900M /root.ext4 &&
		mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E lazy_itable_init=0 -m0 -d /guest /root.ext4'
	mv "$root"/{root.ext4,vmlinux,id} "$tmp/"
	mv "$root/initrd.cpio" "$tmp/initrd"
	rm -rf "$root"/{guest,kernel,initrd,modules} "$out"
	touch "$tmp/made"
	mv "$tmp" "$out"
}

step "guest: Debian $suite" make_root
step "guest: kernel" get_kernel
step "guest: initrd" make_initrd
step "guest: configuration" configure
step "guest: image" make_image
