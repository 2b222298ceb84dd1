#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Runs one program on another kernel: a Debian kernel under qemu's emulator (no KVM), with an
# initramfs made of busybox, the program and its libraries. Its output appears as it is written, and
# its exit status is ours. For tests that ask "does it work there?"; times taken inside are not to be
# compared with any other. Nothing is installed but qemu's own packages (setup.sh).
set -u

usage()
{
	cat <<'U'
usage: run.sh --kernel {6.1|lazy} [options] -- PROGRAM [ARGS...]
  --release PREFIX  a kernel release that begins so, instead of the newest of its kind
  --refresh         ask the mirror for a newer kernel although one is cached
  --smp N           processors (2)            --mem MIB   memory (1024)
  --timeout S       for the whole run (120)   --root      run as root, not as uid 65534
  --add SRC[:DST]   a file or folder more in the guest, with its libraries (DST: same path)
  --env K=V         environment               --sysctl K=V  set before the program starts
  --append WORDS    kernel command line       --log FILE  keep the kernel's console
  --verbose         say on stderr what was booted, and how long it took
exit: the program's own; 77 what is needed is not to be had; 124 timeout; 125 the guest failed
U
}

here=$(dirname "$(realpath "$0")")
kind='' release='' refresh='' log='' verbose=''
smp=2 mem=1024 limit=120 user=65534
append=() add=() env=() sysctl=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kind=${2:-} && shift ;;
	--release) release=${2:-} && shift ;;
	--smp) smp=${2:-} && shift ;;
	--mem) mem=${2:-} && shift ;;
	--timeout) limit=${2:-} && shift ;;
	--log) log=${2:-} && shift ;;
	--append) append+=("${2:-}") && shift ;;
	--add) add+=("${2:-}") && shift ;;
	--env) env+=("${2:-}") && shift ;;
	--sysctl) sysctl+=("${2:-}") && shift ;;
	--refresh) refresh=refresh ;;
	--root) user=0 ;;
	--verbose) verbose=1 ;;
	--help) usage && exit 0 ;;
	--) shift && break ;;
	*) break ;;
	esac
	shift || break
done
case $kind in
6.1 | lazy) ;;
*) usage >&2 && exit 2 ;;
esac
[ $# -ge 1 ] || { usage >&2 && exit 2; }

program=$(realpath -s -- "$(command -v -- "$1")" 2>/dev/null)
[ -f "$program" ] || { echo "run.sh: no program $1" >&2 && exit 127; }
shift

note()
{
	[ -z "$verbose" ] || echo "# $*" >&2
}

quote()
{
	local word

	for word; do
		printf " '%s'" "${word//\'/\'\\\'\'}"
	done
}

work=$(mktemp -d "${TMPDIR:-/tmp}/upcall-emulate.XXXXXX") || exit 125
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$here/setup.sh" || exit
cache=${UPCALL_EMULATE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/upcall-emulate}
kernel=$("$here/kernel.sh" "$kind" "$cache" "$release" $refresh)
status=$?
[ $status -eq 0 ] || { echo "$kernel" && exit $status; }

# PREEMPT_DYNAMIC lets the command line choose, so it is said, and init.sh checks that it holds.
# Kernel 6.1 stays at Debian's default. An --append that says preempt= wins and is not checked.
expect=
if [ "$kind" = lazy ] && [[ " ${append[*]-} " != *" preempt="* ]]; then
	expect=lazy
	append+=(preempt=lazy)
fi

printf 'user=%s\nexpect_preempt=%s\n' "$user" "$expect" >"$work/settings"
for pair in ${sysctl[@]+"${sysctl[@]}"}; do
	# By the file and not by busybox's sysctl, which is loud about names that a kernel lacks.
	key=${pair%%=*}
	printf 'echo%s 2>/dev/null >/proc/sys/%s\n' "$(quote "${pair#*=}")" "${key//.//}"
done >>"$work/settings"
{
	echo '#!/bin/busybox sh'
	echo 'export PATH=/usr/bin:/usr/sbin HOME=/tmp'
	[ ${#env[@]} -eq 0 ] || echo "export$(quote "${env[@]}")"
	echo "exec$(quote "$program" "$@")"
} >"$work/run"

began=$EPOCHREALTIME
"$here/image.sh" "$work/initrd" "$work" "$program" ${add[@]+"${add[@]}"} ||
	{ echo "run.sh: cannot build the initramfs" >&2 && exit 125; }
note "image $(($(stat -c %s "$work/initrd") / 1048576)) MiB in" \
	"$(((${EPOCHREALTIME/./} - ${began/./}) / 1000)) ms"

# Three serial lines: the kernel's console, the program's output, the rig's own. So no kernel
# message falls between the program's lines, and no output can pose as an exit status.
# `| cat`: qemu makes its stdout non-blocking, and that would stick to the caller's terminal.
# timeout --foreground: qemu stays in our process group, so that Ctrl-C reaches it.
# tsc=reliable: else the kernel, seeing an AMD without the flags it wants, gives the TSC up, and rewrites
# its own code for that while the other processor runs it. The emulator does not always get that right.
boot()
{
	timeout --foreground -k 5 "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max \
		-smp "$smp" -m "$mem" -nodefaults -no-user-config -display none -no-reboot \
		-kernel "$kernel/vmlinuz" -initrd "$work/initrd" \
		-append "console=ttyS0 loglevel=5 panic=-1 oops=panic tsc=reliable rdinit=/init ${append[*]-}" \
		-serial "file:$work/kernel.log" -chardev stdio,id=out,signal=off -serial chardev:out \
		-serial "file:$work/rig.log" </dev/null 2>"$work/qemu.log" | cat
	return "${PIPESTATUS[0]}"
}

# Once more where the machine died before the program could start: such a death says nothing of it.
began=$EPOCHREALTIME
for try in 1 2; do
	boot
	status=$?
	if [ $status -ne 0 ] || [ $try -eq 2 ] || grep -q '^RIG' "$work/rig.log"; then
		break
	fi
	echo "run.sh: the guest died while it booted; once more" >&2
	tail -n 20 "$work/kernel.log" >&2
done
took=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
[ -z "$log" ] || cp "$work/kernel.log" "$log"
note "$(sed -n 's/^RIG //p' "$work/rig.log"), up and down in $took ms"

result=$(sed -n 's/^RIG_EXIT //p' "$work/rig.log")
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
	echo "run.sh: not finished after $limit s" >&2
	status=124
elif [ -n "$result" ]; then
	# A complaint of the kernel does not change the verdict (a loaded host stalls the guest's
	# processors, and the kernel says so), but it is not hidden either.
	grep -E 'BUG:|WARNING:|stall|soft lockup' "$work/kernel.log" >&2
	exit "$result"
else
	sed -n 's/^RIG_ERROR /run.sh: /p' "$work/rig.log" >&2
	echo "run.sh: the guest ended without an exit status" >&2
	status=125
fi
tail -n 20 "$work/qemu.log" "$work/kernel.log" >&2
exit "$status"
