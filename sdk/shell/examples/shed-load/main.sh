# Answers 503 while the machine has more to do than it can.
#
# Version 0 of the protocol: for each line of the host one line, and an empty one means "go on". A line begins with its method.

max=8                   # Runnable processes, averaged over a minute. About twice the number of processors is a good limit.
loadavg=/proc/loadavg   # "0.52 0.58 0.59 1/467 12345"

busy='{"ok":true,"action":"respond","status":503,"headers":{"retry-after":"10","cache-control":"no-store"},"body":"Too busy, please come again.\n"}'

while IFS= read -r line; do
  answer=
  case $line in
    '{"method":"onRequest",'*)
      # The number before the point. Where there is no such file, every request passes.
      load=0
      [ -r "$loadavg" ] && IFS=. read -r load _ < "$loadavg"
      [ "$load" -ge "$max" ] && answer=$busy
      ;;
  esac
  printf '%s\n' "$answer"
done
