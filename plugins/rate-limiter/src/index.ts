import type { Plugin, RequestContext } from "bext/plugin"

interface Config {
  readonly requests: number
  readonly window_seconds: number
  readonly key: string
}

const config = bext.config as unknown as Config
const windowMs = config.window_seconds * 1000
const keyHeader = config.key.startsWith("header:") ? config.key.slice("header:".length) : null

export default {
  async onRequest(ctx) {
    const now = Date.now()
    const window = Math.floor(now / windowMs)
    const used = await bext.storage.incr(`${keyOf(ctx)}.${window}`, 1, { ttlMs: windowMs })
    const resetSeconds = Math.ceil(((window + 1) * windowMs - now) / 1000)
    const left = config.requests - used
    if (left >= 0) ctx.extensions.set("limit", limitField(left, resetSeconds))
    return left >= 0 ? { action: "continue" } : tooMany(resetSeconds)
  },

  onResponse(ctx) {
    const limit = ctx.extensions.get("rate-limiter.limit")
    if (limit !== null) ctx.response.appendHeader("ratelimit", limit)
  },
} satisfies Plugin

/** Hashed: what a client sends is neither a valid storage key nor anything to keep in the clear. */
function keyOf(ctx: RequestContext): string {
  const value = keyHeader === null ? null : ctx.headers.get(keyHeader)
  const name = value === null ? `client ${ctx.clientAddress}` : `header ${value}`
  return bext.crypto.sha256(name, "base64url").slice(0, 22)
}

function tooMany(resetSeconds: number) {
  return {
    action: "respond",
    status: 429,
    headers: {
      "content-type": "application/json",
      "retry-after": String(resetSeconds),
      ratelimit: limitField(0, resetSeconds),
    },
    body: JSON.stringify({ error: `At most ${config.requests} requests in ${config.window_seconds} seconds.` }),
  } as const
}

/** Source: draft-ietf-httpapi-ratelimit-headers, RateLimit field. */
function limitField(remaining: number, resetSeconds: number): string {
  return `"rate-limiter";r=${remaining};t=${resetSeconds}`
}
