import { startTrace, takeCallerTrace, toTraceparent } from "../message/traceparent.ts"
import type { Middleware } from "../pipeline/middleware.ts"

/**
 * Takes part in the caller's trace, or starts one: `traceparent` (in the context and in the request that the app sees)
 * names a new span below the caller's; where spans are exported, the one that began at accept. `tracestate` goes on with a
 * valid `traceparent` and is dropped without one.
 * Source: W3C Trace Context §4.
 */
export function createTracing(): Middleware {
  return {
    name: "tracing",
    priority: 500,
    kind: "built-in",
    onRequest(context) {
      const { requestHeaders } = context
      context.traceparent ??= toTraceparent(takeCallerTrace(requestHeaders) ?? startTrace())
      requestHeaders.set("traceparent", context.traceparent)
    },
  }
}
