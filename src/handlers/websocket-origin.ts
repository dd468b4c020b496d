import { BextError } from "../errors.ts"
import type { RequestContext } from "../message/request-context.ts"

/**
 * Keeps pages of other origins from opening websockets. A browser lets any page open one to any site, with that site's
 * cookies; what may come of it is for the server to decide by Origin. Other clients send none and carry nobody's cookies.
 * @param allows - Which other origins may.
 * @throws {BextError} `E_WEBSOCKET_ORIGIN`.
 * Source: RFC 6455 §10.2, RFC 6454 §7.
 */
export function checkWebsocketOrigin(
  { requestHeaders, scheme, host }: RequestContext,
  allows: (origin: string) => boolean,
): void {
  const origin = requestHeaders.get("origin")
  if (origin === undefined || origin === `${scheme}://${withoutDefaultPort(host, scheme)}` || allows(origin)) return
  const page = JSON.stringify(origin.slice(0, 256))
  throw new BextError("E_WEBSOCKET_ORIGIN", `a page of ${page} asked for a websocket to ${scheme}://${host}`)
}

function withoutDefaultPort(host: string, scheme: "http" | "https"): string {
  const port = scheme === "http" ? ":80" : ":443"
  return host.endsWith(port) ? host.slice(0, -port.length) : host
}
