#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Sees that the programs the emulation rig needs are there, and installs the missing ones where
# apt-get may run. Called by run.sh; safe to call alone. Otherwise it prints one line that says what
# to type, and exits 77. It must not touch apt's sources or install a kernel.
set -u

missing=()
command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
command -v busybox >/dev/null || missing+=(busybox-static)
command -v cpio >/dev/null || missing+=(cpio)
{ command -v setpriv && command -v flock; } >/dev/null || missing+=(util-linux)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	{
		apt-get install -y --no-install-recommends "${missing[@]}" ||
			{ apt-get update &&
				apt-get install -y --no-install-recommends "${missing[@]}"; }
	} >/dev/null 2>&1 && exit 0
fi
echo "SKIP the emulation rig needs: apt-get install ${missing[*]}"
exit 77
