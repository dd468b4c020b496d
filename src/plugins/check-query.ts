/** Longest query a guest may set. */
const MAX_QUERY_LENGTH = 8192

/**
 * Says what keeps `query` from being one that goes to an app as it is: in the request line, what is no visible ASCII ends
 * the target, or the line; a fragment has no place in it. Source: RFC 9112 §3.2, RFC 3986 §3.4.
 * @returns undefined when nothing does.
 */
export function findQueryFault(query: string): string | undefined {
  if (query.length > MAX_QUERY_LENGTH) return `is longer than ${MAX_QUERY_LENGTH} characters`
  if (query.includes("#")) return "has a fragment"
  if (/[^\x21-\x7e]/.test(query)) return "has a character that is not visible ASCII; percent-encode it"
  return undefined
}
