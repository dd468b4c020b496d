#!/bin/sh
# The first process of the machine. What a kernel starts with cannot be pivoted away from, as bubblewrap does, so everything moves
# to another tmpfs.
export PATH=/usr/bin:/usr/sbin
mkdir /new
mount -t tmpfs -o mode=755 tmpfs /new
cp -a /usr /bin /sbin /lib /lib64 /proc /sys /dev /tmp /root /environment /scenarios /new
for folder in /*; do
  case $folder in /new | /usr | /bin | /sbin | /lib | /lib64 | /proc | /sys | /dev | /tmp | /root | /init) ;; *) cp -a "$folder" /new ;; esac
done
exec switch_root /new /scenarios
