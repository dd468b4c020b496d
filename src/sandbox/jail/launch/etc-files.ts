/** The /etc of a jail: what libraries look up, and nothing of the host. */
export const ETC_FILES: ReadonlyMap<string, string> = new Map([
  ["passwd", "root:x:0:0:root:/:/usr/sbin/nologin\nplugin:x:65534:65534:plugin:/tmp:/usr/sbin/nologin\n"],
  ["group", "root:x:0:\nplugin:x:65534:\n"],
  ["hosts", "127.0.0.1 localhost plugin\n::1 localhost plugin\n"],
  ["nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"],
  // There is no server to ask. Without the file, libraries ask the one on this machine.
  ["resolv.conf", ""],
])
