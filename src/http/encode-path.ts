/** The characters of a path that need no encoding: RFC 3986 pchar and "/". */
const PLAIN = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/]*$/

/** Writes a normalised path as it may stand in a request target or a Location: UTF-8, percent-encoded once. */
export function encodePath(path: string): string {
  if (PLAIN.test(path)) return path
  return path.toWellFormed().replace(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/]+/g, (run) => encodeURIComponent(run))
}
