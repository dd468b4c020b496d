import type { RequestContext } from "../message/request-context.ts"
import type { RequestTrace, TracedCall, TracedResult, UpstreamCall } from "../message/request-trace.ts"
import { newSpanId, type Trace, toTraceparent } from "../message/traceparent.ts"
import type { ServerSpan, Span } from "./span.ts"

/** Longest path, host and URL in a span, in UTF-16 units. */
const MAX_TEXT = 2048

export interface RootIds {
  readonly trace: Trace
  readonly spanId: string
  readonly parentId: string | null
}

/** The spans of one request. They are given to `add` together when the response is written; what follows, as it comes. */
export class RequestSpans implements RequestTrace {
  readonly #trace: Trace
  readonly #ids: Pick<ServerSpan, "traceId" | "spanId" | "parentId" | "flags">
  readonly #request: Pick<
    ServerSpan,
    "startedAtMs" | "method" | "path" | "scheme" | "host" | "hostname" | "clientAddress" | "requestId"
  >
  readonly #add: (spans: readonly Span[]) => void
  /** What makes epoch milliseconds of performance.now(), which knows nothing of a clock that was set since the start. */
  readonly #epochMs: number
  #route: string | null = null
  #errorCode: string | null = null
  /** Null once the request is over. */
  #spans: Span[] | null = []
  readonly #open = new Set<Call>()

  constructor(context: RequestContext, { trace, spanId, parentId }: RootIds, add: (spans: readonly Span[]) => void) {
    this.#trace = trace
    this.#ids = { traceId: trace.traceId, spanId, parentId, flags: Number.parseInt(trace.flags, 16) }
    this.#add = add
    this.#epochMs = Date.now() - performance.now()
    this.#request = {
      startedAtMs: context.startedAtMs + this.#epochMs,
      method: context.method,
      path: cut(context.path),
      scheme: context.scheme,
      host: cut(context.host),
      hostname: cut(context.hostname),
      clientAddress: context.clientAddress,
      requestId: context.requestId,
    }
  }

  routed(glob: string): void {
    this.#route = glob
  }

  failed(code: string): void {
    this.#errorCode = code
  }

  called({ plugin, hook, tier, startedAtMs, endedAtMs, fuel, errorCode }: TracedCall): void {
    const times = { startedAtMs: startedAtMs + this.#epochMs, endedAtMs: endedAtMs + this.#epochMs }
    this.#record({ kind: "hook", ...this.#childIds(newSpanId()), ...times, plugin, hook, tier, fuel, errorCode })
  }

  callUpstream(method: string, url: string): UpstreamCall {
    const spanId = newSpanId()
    const startedAtMs = performance.now() + this.#epochMs
    const call = new Call(toTraceparent(this.#trace, spanId), (outcome, endedAtPerformanceMs) => {
      if (!this.#open.delete(call)) return
      const endedAtMs = endedAtPerformanceMs + this.#epochMs
      const ids = this.#childIds(spanId)
      this.#record({ kind: "upstream", ...ids, startedAtMs, endedAtMs, method, url: cut(url), ...outcome })
    })
    this.#open.add(call)
    return call
  }

  end({ status, durationMs, aborted }: TracedResult): void {
    const spans = this.#spans
    if (spans === null) return
    const request = this.#request
    const endedAtMs = request.startedAtMs + durationMs
    for (const call of this.#open) call.end(endedAtMs - this.#epochMs)
    this.#spans = null
    const route = this.#route
    const errorCode = this.#errorCode
    spans.push({ kind: "server", ...this.#ids, ...request, endedAtMs, route, status, aborted, errorCode })
    this.#add(spans)
  }

  #childIds(spanId: string) {
    const { traceId, spanId: parentId, flags } = this.#ids
    return { traceId, spanId, parentId, flags }
  }

  #record(span: Span): void {
    if (this.#spans === null) this.#add([span])
    else this.#spans.push(span)
  }
}

interface Outcome {
  readonly status: number | null
  readonly resent: number
  readonly errorCode: string | null
}

class Call implements UpstreamCall {
  readonly traceparent: string
  readonly #ended: (outcome: Outcome, endedAtMs: number) => void
  #status: number | null = null
  #resent = 0
  #errorCode: string | null = null

  /** @param ended - Told when, by performance.now(). */
  constructor(traceparent: string, ended: (outcome: Outcome, endedAtMs: number) => void) {
    this.traceparent = traceparent
    this.#ended = ended
  }

  resent(): void {
    this.#resent++
  }

  answered(status: number): void {
    this.#status = status
  }

  failed(code: string): void {
    this.#errorCode = code
    this.end()
  }

  end(endedAtMs: number = performance.now()): void {
    this.#ended({ status: this.#status, resent: this.#resent, errorCode: this.#errorCode }, endedAtMs)
  }
}

function cut(text: string): string {
  return (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text).toWellFormed()
}
