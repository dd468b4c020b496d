/** Characters of a path that need no encoding: RFC 3986 pchar and "/". */
const PLAIN = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/]*$/

/** A normalised path and a raw query as a request target: ASCII, percent-encoded once. */
export function toUri(path: string, query: string): string {
  const encoded = PLAIN.test(path) ? path : encodeURI(path.toWellFormed()).replace(/[?#]/g, encodeURIComponent)
  return query === "" ? encoded : `${encoded}?${query}`
}

/**
 * Takes a request target apart and decodes its path once.
 * @returns why it cannot be, as text.
 */
export function parseUri(uri: string): { readonly path: string; readonly query: string } | string {
  const question = uri.indexOf("?")
  const raw = question === -1 ? uri : uri.slice(0, question)
  if (uri.includes("#")) return "has a fragment"
  // Its bytes come one character each: UTF-8 would become another path.
  if (/[\x80-\uffff]/.test(raw)) return "has a character that is not ASCII; percent-encode it"
  if (/%2f/i.test(raw)) return "has an encoded slash"
  try {
    return { path: decodeURIComponent(raw), query: question === -1 ? "" : uri.slice(question + 1) }
  } catch {
    return "has a broken percent-encoding"
  }
}
