import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { Middleware } from "../pipeline/middleware.ts"
import { createOriginMatcher } from "./origin-matcher.ts"

export type CorsConfig = NonNullable<Config["middleware"]["cors"]>

/**
 * Says which other origins' scripts may read this site's responses (Fetch standard, "CORS protocol").
 *
 * - A preflight is answered here: 204 for an allowed origin, `E_CORS_ORIGIN` (403) for any other.
 * - Other requests always go on, as same-origin requests carry an Origin too and CORS protects readers, not the server; the
 *   response of an origin that is not allowed just lacks the headers that would let a script read it.
 * - The app's own CORS headers are replaced, so that this configuration is the only word on the matter.
 * - With `private_network` a preflight that asks for it (Private Network Access §3.1) is told that this server may be reached
 *   on a private address.
 */
export function createCors(config: CorsConfig): Middleware {
  const any = config.origins.includes("*")
  const allowed = createOriginMatcher(config.origins.filter((origin) => origin !== "*"))
  const preflightHeaders = HeaderList.from(toPreflightHeaders(config))
  const exposed = config.expose_headers.join(", ")

  return {
    name: "cors",
    priority: 100,
    kind: "built-in",

    onRequest(context) {
      const { method, requestHeaders } = context
      if (method !== "OPTIONS" || !requestHeaders.has("access-control-request-method")) return
      const origin = requestHeaders.get("origin")
      if (origin === undefined) return
      if (!any && !allowed(origin)) throw new BextError("E_CORS_ORIGIN", "preflight of an origin that is not allowed")
      const headers = preflightHeaders.clone()
      if (config.private_network && requestHeaders.get("access-control-request-private-network") === "true") {
        headers.set("Access-Control-Allow-Private-Network", "true")
      }
      context.response = { status: 204, headers, body: null }
    },

    onResponse(context) {
      const headers = context.response?.headers
      if (headers === undefined) return
      // "*" is the same answer for everyone and sent to everyone, so that a cached response serves every origin.
      const reader = any ? "*" : allowedReader(context, headers)
      if (reader === undefined) return
      headers.set("Access-Control-Allow-Origin", reader)
      if (config.credentials) headers.set("Access-Control-Allow-Credentials", "true")
      else headers.delete("Access-Control-Allow-Credentials")
      if (exposed !== "") headers.set("Access-Control-Expose-Headers", exposed)
    },
  }

  /** The other origin that may read this response, if one asks. */
  function allowedReader(context: RequestContext, headers: HeaderList): string | undefined {
    headers.appendToken("Vary", "Origin")
    const origin = context.requestHeaders.get("origin")
    if (origin === undefined || allowed(origin)) return origin
    headers.delete("Access-Control-Allow-Origin")
    headers.delete("Access-Control-Allow-Credentials")
    return undefined
  }
}

function toPreflightHeaders(config: CorsConfig): [string, string][] {
  const headers: [string, string][] = [
    ["Access-Control-Allow-Methods", config.methods.join(", ")],
    ["Access-Control-Max-Age", String(Math.floor(config.max_age / 1000))],
  ]
  if (config.headers.length > 0) headers.push(["Access-Control-Allow-Headers", config.headers.join(", ")])
  return headers
}
