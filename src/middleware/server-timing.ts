import type { Config } from "../config/schema.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { Middleware } from "../pipeline/middleware.ts"

export type TracingConfig = Config["middleware"]["tracing"]

/**
 * Whether a request asked for timings and may have them: it sends `Server-Timing: 1`, and the configuration says "on", or
 * "loopback" and the client is this machine.
 */
export function createTimingPolicy(config: TracingConfig): (context: RequestContext) => boolean {
  if (config.server_timing === "off") return () => false
  if (config.server_timing === "on") return asks
  return (context) => asks(context) && isLocal(context)
}

/**
 * Puts on every response, refused requests included, what helps to find it again: `X-Request-Id`, and `Server-Timing`
 * with one entry for each middleware (both hooks together) and `total` since accept, in milliseconds; the description of a
 * wasm plugin says how much fuel it used.
 * Source: W3C Server Timing §3.
 */
export function createResponseTracing(): Middleware {
  return {
    name: "response-tracing",
    priority: 500,
    kind: "built-in",
    onResponse(context) {
      const headers = context.response?.headers
      if (headers === undefined) return
      headers.set("X-Request-Id", context.requestId)
      if (context.timings !== null) headers.append("Server-Timing", toServerTiming(context))
    },
  }
}

function asks(context: RequestContext): boolean {
  return context.requestHeaders.get("server-timing") === "1"
}

function isLocal({ clientAddress }: RequestContext): boolean {
  return clientAddress === "::1" || clientAddress.startsWith("127.")
}

function toServerTiming(context: RequestContext): string {
  const sums = new Map<string, { ms: number; fuel: number }>()
  for (const { name, durationMs, fuel = 0 } of context.timings ?? []) {
    const sum = sums.get(name) ?? { ms: 0, fuel: 0 }
    sums.set(name, { ms: sum.ms + durationMs, fuel: sum.fuel + fuel })
  }
  sums.set("total", { ms: performance.now() - context.startedAtMs, fuel: 0 })
  return Array.from(sums, ([name, { ms, fuel }]) => {
    const entry = `${name.replace(/[^\w-]/g, "_")};dur=${ms.toFixed(3)}`
    return fuel === 0 ? entry : `${entry};desc="${fuel} fuel"`
  }).join(", ")
}
