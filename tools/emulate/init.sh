#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Process 1 of the emulated machine. It mounts what a program may ask for, says on the third serial
# line what kernel this is, runs /rig/run as the user that run.sh chose, writes the exit status to
# the third line and powers off. Nothing but the program writes to the second line.
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /run /tmp
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS0 2>&1 # there was no /dev/console to be given: complaints go to the kernel log
$bb mkdir -p /dev/shm /dev/pts
$bb mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
$bb mount -t tmpfs -o mode=1777 shm /dev/shm
$bb mount -t debugfs debug /sys/kernel/debug
$bb mount -t cgroup2 cgroup /sys/fs/cgroup
# No mount on /tmp: a program from the host's /tmp lies there, and the root is in memory anyway.
$bb chmod 1777 /tmp
for d in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
	[ -e "/dev/${d%%:*}" ] || $bb ln -s "/proc/self/${d#*:}" "/dev/${d%%:*}"
done
$bb ip link set lo up

# The line discipline would turn each newline into two bytes.
$bb stty -opost -echo -F /dev/ttyS1
$bb stty -opost -echo -F /dev/ttyS2

. /rig/settings # user, expect_preempt

# A folder of cgroups that the ordinary user owns, as systemd delegates one: tests make and limit
# their own. The program runs in a leaf, since a group with processes cannot have controlled children.
cg=/sys/fs/cgroup
for c in cpu cpuset memory pids; do
	echo "+$c" >$cg/cgroup.subtree_control
done 2>/dev/null
$bb mkdir -p $cg/user
for c in cpu cpuset memory pids; do
	echo "+$c" >$cg/user/cgroup.subtree_control
done 2>/dev/null
$bb mkdir -p $cg/user/main
for f in user user/cgroup.procs user/cgroup.threads user/cgroup.subtree_control user/main \
	user/main/cgroup.procs user/main/cgroup.threads user/main/cgroup.subtree_control; do
	$bb chown "$user:$user" "$cg/$f"
done

preempt=$($bb cat /sys/kernel/debug/sched/preempt 2>/dev/null)
echo "RIG kernel $($bb uname -r) preempt ${preempt:-unknown}" >/dev/ttyS2
case $expect_preempt:$preempt in
: | :* | lazy:*'(lazy)'*) ;;
*)
	echo "RIG_ERROR wanted preempt=$expect_preempt, the kernel says: ${preempt:-nothing}" >/dev/ttyS2
	$bb stty -F /dev/ttyS2 -opost
	$bb poweroff -f ;;
esac

# The parent joins the group, not the program: the ordinary user may not move itself out of the root.
(
	echo 0 >$cg/user/main/cgroup.procs
	cd /tmp || exit 125
	if [ "$user" = 0 ]; then
		exec /rig/run
	fi
	exec /rig/setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all /rig/run
) </dev/null >/dev/ttyS1 2>&1
status=$?

# stty sets modes with TCSADRAIN: it returns when the last byte has left. A power-off loses the rest.
$bb stty -F /dev/ttyS1 -opost
echo "RIG_EXIT $status" >/dev/ttyS2
$bb stty -F /dev/ttyS2 -opost
$bb poweroff -f
