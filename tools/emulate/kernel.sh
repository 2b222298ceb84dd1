#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Finds a Debian kernel of one kind, unpacks it into the cache and prints its folder, which holds
# `vmlinuz`, `config` and `release`. Called by run.sh. It installs nothing and leaves the machine's
# own apt lists and sources alone: a private list names the same mirror with another suite. Exits 77
# with one SKIP line where there is no such kernel to be had.
#
# usage: kernel.sh KIND CACHE [RELEASE-PREFIX] [refresh]
#	KIND is 6.1 (Debian 12's own) or lazy (CONFIG_PREEMPT_LAZY=y)
set -u

kind=$1
cache=$2
want=${3:-}
refresh=${4:-}
flavour=cloud-amd64 # drivers for virtual machines only: half the size, the console is built in

skip()
{
	echo "SKIP $*"
	exit 77
}

# A finished folder has `release` in it, written last.
cached()
{
	local dir

	for dir in $(printf '%s\n' "$cache/$kind/$want"* | sort -Vr); do
		[ -s "$dir/release" ] && echo "$dir" && return 0
	done
	return 1
}

# The mirror comes from the machine's own configuration: whoever runs this may have another one.
# "security" chooses the mirror of the security suite, which has another root.
mirror()
{
	local uri release

	while read -r uri release; do
		case $1:$release in
		security:*-security) echo "$uri" && return 0 ;;
		main:bookworm | main:trixie | main:forky | main:sid | main:*stable | main:testing)
			echo "$uri" && return 0 ;;
		esac
	done < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
		'Created-By: Packages' 'Component: main')
	return 1
}

# apt 2.6 does not give Signed-By among its index targets, so it is read from the sources: the field
# of the deb822 form, or the option of the one-line form. None: apt's trusted keys serve.
keyring()
{
	sed -n -e 's/^Signed-By:[[:space:]]*\(\/[^[:space:]]*\).*/\1/p' \
		-e 's/^deb .*signed-by=\([^] ]*\).*/\1/p' \
		/etc/apt/sources.list /etc/apt/sources.list.d/*.sources \
		/etc/apt/sources.list.d/*.list 2>/dev/null | grep -m1 debian-archive
}

# Sandbox::User: apt would warn that its own user cannot write into a private folder.
# The preferences are left out: a pin made for the machine must not choose our kernel.
apt_private()
{
	local tool=$1

	shift
	"$tool" -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/none" \
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$apt/none" \
		-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" \
		-o Acquire::Languages=none -o APT::Sandbox::User=root \
		-o Acquire::Retries=2 "$@"
}

use_suites()
{
	local key main sec suite

	key=$(keyring) && key="[signed-by=$key] " || key=
	main=$(mirror main) || skip "apt knows no Debian mirror to ask for a $kind kernel"
	apt=$cache/apt/$1
	mkdir -p "$apt"/{none,lists/partial,cache/archives/partial} || skip "cannot write $cache"
	for suite; do
		case $suite in
		*-security) sec=$(mirror security) && echo "deb $key$sec $suite main" ;;
		*) echo "deb $key$main $suite main" ;;
		esac
	done >"$apt/sources.list"
	apt_private apt-get update >"$apt/log" 2>&1 ||
		skip "cannot fetch the package list of $*: $(tail -n1 "$apt/log")"
}

# Newest first. Versions vanish from a backports suite, so none is written down here.
candidates()
{
	apt_private apt-cache search --names-only "^linux-image-[0-9].*-$flavour\$" |
		sed -n 's/^linux-image-\([^ ]*\) .*/\1/p' | grep "^$1" | sort -Vr
}

# Since 6.19 or so, the image is split into linux-binary (vmlinuz) and linux-base (config).
unpack()
{
	local version=$1 tmp=$2 part deb

	for part in image binary base; do
		[ -s "$tmp/vmlinuz" ] && [ -s "$tmp/config" ] && return 0
		(cd "$tmp" && apt_private apt-get download "linux-$part-$version") \
			>>"$apt/log" 2>&1 || return 1
		for deb in "$tmp"/*.deb; do
			dpkg-deb -x "$deb" "$tmp/x" || return 1
			rm -f "$deb"
		done
		find "$tmp/x" -path '*/vmlinuz*' -type f -exec cp {} "$tmp/vmlinuz" \;
		find "$tmp/x" -type f \( -path '*/boot/config-*' -o -path '*/modules/*/config' \) \
			-exec cp {} "$tmp/config" \;
	done
	[ -s "$tmp/vmlinuz" ] && [ -s "$tmp/config" ]
}

# What the rig cannot do without, since it loads no module.
suits()
{
	local option

	for option in SERIAL_8250_CONSOLE BLK_DEV_INITRD DEVTMPFS CGROUPS \
		$([ "$kind" = lazy ] && echo PREEMPT_LAZY); do
		grep -q "^CONFIG_$option=y" "$1" || return 1
	done
}

install_from_apt()
{
	local version tmp tries=0

	for version in $(candidates "$1"); do
		[ $((tries++)) -lt 3 ] || break
		[ -s "$cache/$kind/$version/release" ] && return 0
		tmp=$(mktemp -d "$cache/tmp.XXXXXX") || return 1
		if unpack "$version" "$tmp" && suits "$tmp/config"; then
			rm -rf "$tmp/x" "${cache:?}/$kind/$version"
			echo "$version" >"$tmp/release"
			mkdir -p "$cache/$kind" && mv "$tmp" "$cache/$kind/$version" && return 0
		fi
		rm -rf "$tmp"
	done
	return 1
}

mkdir -p "$cache" 2>/dev/null || skip "cannot write $cache"
# Two runs at once must not unpack into the same folder.
if ! { exec 9>"$cache/lock" && flock 9; }; then
	skip "cannot lock $cache"
fi
[ -z "$refresh" ] && cached && exit 0
command -v apt-get >/dev/null || skip "no apt-get to fetch a $kind kernel with"

case $kind in
6.1)
	use_suites bookworm bookworm-security
	install_from_apt "${want:-6\.1\.}" ;;
lazy)
	# Debian 13 itself has 6.12, which has no such option yet.
	use_suites trixie-backports
	install_from_apt "$want" || { use_suites trixie && install_from_apt "$want"; } ;;
*)
	echo "kernel.sh: kind 6.1 or lazy, not $kind" >&2
	exit 2 ;;
esac || skip "no $kind kernel ${want:+$want* }in the mirror's suites"
cached || skip "no $kind kernel in $cache"
