import type { Config } from "./schema.ts"

type SessionConfig = NonNullable<Config["middleware"]["session"]>

/**
 * The configured name of the session cookie, otherwise the one that holds the browser to the strictest rules the other
 * settings meet: nobody else, no sibling domain and no plain http, can set a __Host- cookie.
 * Source: RFC 6265bis §4.1.3.
 */
export function cookieNameOf({ cookie, secure, path, domain }: SessionConfig): string {
  if (cookie !== undefined) return cookie
  if (!secure) return "session"
  return path === "/" && domain === undefined ? "__Host-session" : "__Secure-session"
}
