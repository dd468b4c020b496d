/** Words that run what follows as nobody. */
export const AS_NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]

/** Words that run what follows on a machine without bubblewrap. */
export const WITHOUT_BUBBLEWRAP = [
  "unshare",
  "-m",
  "sh",
  "-c",
  'mount --bind /dev/null /usr/bin/bwrap && exec "$@"',
  "sh",
]
