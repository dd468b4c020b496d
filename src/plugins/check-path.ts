/** Longest path a guest may set, UTF-16 units. */
const MAX_PATH_LENGTH = 8192

/**
 * Says what keeps `path` from being a normalised path, the form that matchers, routes and upstreams rely on: absolute,
 * decoded, no empty segment but the last, no dot segments, nothing a parser further on could read as something else.
 * Source: RFC 3986 §6.2.2.
 * @returns undefined when nothing does.
 */
export function findPathFault(path: string): string | undefined {
  if (path.length > MAX_PATH_LENGTH) return `longer than ${MAX_PATH_LENGTH} characters`
  if (!path.startsWith("/")) return 'does not start with "/"'
  if (path.includes("//")) return 'contains "//"'
  if (path.includes("\\")) return "contains a backslash"
  if (hasControlCharacter(path)) return "contains a control character"
  if (!path.isWellFormed()) return "contains half a surrogate pair"
  if (/\/\.\.?([/;]|$)/.test(path)) return "contains a dot segment"
  if (path === "/__bext" || path.startsWith("/__bext/")) return "is reserved for bext"
  return undefined
}

function hasControlCharacter(path: string): boolean {
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
