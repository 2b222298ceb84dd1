#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Builds the guest's initramfs as an uncompressed cpio (unpacking a compressed one takes longer under
# emulation than reading it). Called by run.sh. Every file keeps the path that it has on the host, so
# that a program finds its own libraries and data by $ORIGIN or by absolute path.
#
# usage: image.sh OUT.cpio WORKDIR PROGRAM [SRC[:DST]...]
#	WORKDIR has `settings`, read by init.sh, and `run`, the command
set -eu

out=$(realpath -m "$1")
work=$2
root=$work/root
program=$3
shift 3
here=$(dirname "$(realpath "$0")")

put()
{
	mkdir -p "$root$(dirname "$2")"
	cp -rL --preserve=mode,timestamps "$1" "$root$2"
}

# A shared library is also wanted at the path that its user will look at (a symbolic link's name), so
# links are followed. ldd fails for scripts and static programs: then there is nothing to add.
closure()
{
	local lib

	ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r lib; do
		[ -e "$root$lib" ] || put "$lib" "$lib"
	done
}

add()
{
	local file

	put "$1" "$2"
	find -L "$1" -type f | while read -r file; do
		closure "$file"
	done
}

mkdir -p "$root"/{usr/bin,usr/lib,usr/lib64,usr/sbin,etc,rig,root}
for dir in bin lib lib64 sbin; do
	ln -s "usr/$dir" "$root/$dir" # as on the host: ld.so names /lib64, the cache names /lib
done

add "$(command -v busybox)" /bin/busybox
add "$(command -v setpriv)" /rig/setpriv
add "$program" "$program"
for pair; do
	src=${pair%%:*}
	dst=${pair#*:}
	add "$(realpath "$src")" "$(realpath -sm "/${dst#/}")"
done

# system(), popen() and a program's own scripts want the usual names. Last: a copy onto one of these
# links would write over busybox itself.
for applet in $(busybox --list); do
	[ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done

cp "$here/init.sh" "$root/init"
cp "$work/settings" "$work/run" "$root/rig/"
cp /etc/ld.so.cache "$root/etc/" 2>/dev/null || true # names that are missing here are passed over
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$root/etc/nsswitch.conf"

# All readable by the ordinary user. A program that its user cannot read is "not dumpable": its
# /proc/PID/task files then belong to root, and even its own threads could not read them.
chmod -R a+rX "$root"
chmod a+rx "$root/init" "$root/rig/run" "$root/bin/busybox" "$root/rig/setpriv"
(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$out"
