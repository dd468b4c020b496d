/** The /etc of a jail: what libraries look up, and nothing of the host. */
export const ETC_FILES: ReadonlyMap<string, string> = new Map([
  ["passwd", ["root:x:0:0:root", "plugin:x:1000:1000:plugin", "nobody:x:65534:65534:nobody"].map(toPasswd).join("")],
  ["group", "root:x:0:\nplugin:x:1000:\nnogroup:x:65534:\n"],
  ["hosts", "127.0.0.1 localhost plugin\n::1 localhost plugin\n"],
  ["nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"],
  ["resolv.conf", "# There is no network here.\n"],
])

/** Nobody logs in. */
function toPasswd(user: string): string {
  return `${user}:/tmp:/usr/sbin/nologin\n`
}
