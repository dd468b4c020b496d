import type { HeaderList } from "../message/header-list.ts"

/** The scheme name in any case, as a whole word, and the spaces after it (RFC 9110 §11.4). */
const BEARER = /^bearer(?![!#$%&'*+.^_`|~0-9a-z-]) */i

/**
 * The token of the Authorization field.
 * @returns null without Bearer credentials; "" when there is more than one field, as the app might then use another than
 * the one that was checked here.
 */
export function bearerToken(headers: HeaderList): string | null {
  const value = headers.get("authorization")
  if (value === undefined) return null
  if (value.startsWith("Bearer ") && value[7] !== " ") return value.slice(7)
  const scheme = BEARER.exec(value)
  // Two fields come joined by ", ", which is no part of a token, so that only other schemes need to be counted.
  if (scheme === null) return headers.getAll("authorization").length > 1 ? "" : null
  return value.slice(scheme[0].length)
}

/**
 * The value of a cookie (RFC 6265 §5.4).
 * @returns null when there is none, or several that differ: one of them was planted, for instance from a sibling domain.
 */
export function cookieToken(headers: HeaderList, name: string): string | null {
  const cookies = headers.get("cookie")
  if (cookies === undefined || !cookies.includes(name)) return null
  let found: string | null = null
  for (const pair of cookies.split(";")) {
    const equals = pair.indexOf("=")
    if (equals === -1 || pair.slice(0, equals).trim() !== name) continue
    const value = pair.slice(equals + 1).trim()
    if (found !== null && found !== value) return null
    found = value
  }
  return found
}
