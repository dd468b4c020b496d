import type { Middleware } from "../pipeline/middleware.ts"
import { childOf, parseTraceparent, startTrace } from "./traceparent.ts"

/**
 * Takes part in the caller's trace, or starts one: `traceparent` (in the context and in the request that the app sees)
 * names a new span below the caller's. `tracestate` goes on with a valid `traceparent` and is dropped without one.
 * Source: W3C Trace Context §4.
 */
export function createTracing(): Middleware {
  return {
    name: "tracing",
    priority: 500,
    kind: "built-in",
    onRequest(context) {
      const { requestHeaders } = context
      const received = requestHeaders.get("traceparent")
      const caller = received === undefined ? null : parseTraceparent(received)
      if (caller === null) requestHeaders.delete("tracestate")
      context.traceparent = childOf(caller ?? startTrace())
      requestHeaders.set("traceparent", context.traceparent)
    },
  }
}
