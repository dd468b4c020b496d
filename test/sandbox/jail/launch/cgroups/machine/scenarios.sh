#!/bin/sh
# Places in the tree of version 2 that bext may find itself in; in each, the same tests as on any machine.
export PATH=/usr/bin:/usr/sbin CI=true
. /environment
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/shm && mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
cd /

# scenario NAME GROUP COMMAND…: in a process of that group
scenario() {
  name=$1 group=$2
  shift 2
  echo "begin $name"
  mkdir -p "/sys/fs/cgroup$group"
  sh -c 'echo 0 >"/sys/fs/cgroup$1/cgroup.procs" && shift && exec "$@"' sh "$group" "$@" </dev/null
  echo "end $name $?"
}

groups="$NODE --test --test-isolation=none --test-reporter=tap $TESTS/control-groups.test.ts"
where="$NODE $TESTS/machine/where.ts"
as_user="setpriv --reuid 1000 --regid 1000 --clear-groups"

scenario "root of the tree" "" $groups
scenario "service" /service $groups
scenario "below a service" /outer/inner $where
# Processes of one server start together, and each may find the others beside it.
scenario "two at once" /pair sh -c "$where & $where & wait"

# What systemd does for Delegate=memory pids cpu of a user's unit.
echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/delegated
chown 1000 /sys/fs/cgroup/delegated /sys/fs/cgroup/delegated/cgroup.procs /sys/fs/cgroup/delegated/cgroup.subtree_control
scenario "delegated to a user" /delegated $as_user $groups
scenario "not delegated to a user" /others $as_user $where

mkdir /sys/fs/cgroup/half /sys/fs/cgroup/half/inner
echo "+memory" >/sys/fs/cgroup/half/cgroup.subtree_control
chown 1000 /sys/fs/cgroup/half/inner /sys/fs/cgroup/half/inner/cgroup.procs /sys/fs/cgroup/half/inner/cgroup.subtree_control
scenario "delegated without pids and cpu" /half/inner $as_user $where

# A container: its group is the root of all it sees.
scenario "container" /container unshare --cgroup --mount sh -c \
  "umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && $groups"
scenario "container that may not write" /locked unshare --cgroup --mount sh -c \
  "umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && mount -o remount,bind,ro /sys/fs/cgroup && $where"

scenario "jails" /jails $NODE $TESTS/machine/launch.ts
echo o >/proc/sysrq-trigger
sleep 10
