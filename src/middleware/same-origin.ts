import type { RequestContext } from "../message/request-context.ts"

const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"])

export interface SameOriginOptions {
  /** The site is reached over https alone, also when a proxy in front does not say so. */
  readonly https: boolean
  /** Other origins whose pages may act for a user. */
  readonly allowed: (origin: string) => boolean
  /** What a request says that carries neither Origin nor Sec-Fetch-Site, as of programs and old browsers. */
  readonly silent: boolean
}

/**
 * Whether a request changes nothing (RFC 9110 §9.2.1): neither as the client sent it, nor as a plugin has changed it. The
 * page that sent it knows the one, what it does goes by the other.
 */
export function isSafe({ method, clientMethod }: Pick<RequestContext, "method" | "clientMethod">): boolean {
  return SAFE.has(method) && (method === clientMethod || SAFE.has(clientMethod))
}

/**
 * Tells whether a request that a browser sent comes from a page that may act for its user: of this origin, or of one that is
 * allowed. A page cannot write the two headers it goes by. Safe methods are asked too when they name an origin, as the
 * opening of a websocket does; links and images do not.
 * Source: Fetch Metadata §2.3 (Sec-Fetch-Site), RFC 6454 §7 (Origin).
 */
export function createSameOriginCheck({ https, allowed, silent }: SameOriginOptions): (c: RequestContext) => boolean {
  return (context) => {
    const { scheme, host, requestHeaders } = context
    const origin = requestHeaders.get("origin")
    if (origin === undefined && isSafe(context)) return true
    const site = requestHeaders.get("sec-fetch-site")
    if (site === "same-origin" || site === "none") return true
    if (origin === undefined) return site === undefined && silent
    return origin === `${https ? "https" : scheme}://${host}` || allowed(origin)
  }
}
