# What shell plugins do: pipes, files, a named pipe, background jobs, the usual commands.
set -e
cd "$(mktemp -d)"
printf 'b\na\nc\n' | sort | head -n 2 | tr a-z A-Z >sorted
[ "$(cat sorted)" = "A
B" ]
mkdir -p deep/folder && cp sorted deep/folder/copy && mv deep/folder/copy moved && ln -s moved link && chmod 600 moved
[ "$(wc -l <link | tr -d ' ')" = 2 ]
mkfifo pipe
echo through >pipe &
read -r line <pipe
wait
[ "$line" = through ]
date >/dev/null && id -u >/dev/null && uname >/dev/null && ls -l >/dev/null && df . >/dev/null && touch -d yesterday moved
grep -q B sorted && sed s/A/x/ sorted >/dev/null && awk 'END { exit NR != 2 }' sorted && find . -type f >/dev/null
timeout 5 sleep 0.01
echo text | gzip | gunzip | sha256sum >/dev/null
tar cf archive.tar moved && tar tf archive.tar >/dev/null
dd if=/dev/zero of=zeroes bs=1k count=4 2>/dev/null && truncate -s 8k zeroes && sync zeroes
rm -r deep sorted
echo done
