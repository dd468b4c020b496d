import type { Config } from "../config/schema.ts"
import { randomHex } from "../message/random-hex.ts"
import type { RequestContext } from "../message/request-context.ts"
import {
  type CallerTrace,
  isSampled,
  markSampled,
  newSpanId,
  startTrace,
  takeCallerTrace,
  toTraceparent,
} from "../message/traceparent.ts"
import { RequestSpans } from "./request-spans.ts"
import type { Span } from "./span.ts"

export type OtlpConfig = NonNullable<Config["middleware"]["tracing"]["otlp"]>

/** Decides which requests are traced, and begins their traces. */
export class Tracer {
  readonly #ratio: number
  readonly #add: (spans: readonly Span[]) => void

  constructor(ratio: number, add: (spans: readonly Span[]) => void) {
    this.#ratio = ratio
    this.#add = add
  }

  /**
   * Gives the request its place in a trace: `context.traceparent`, and `context.trace` when it is sampled.
   *
   * Only a trusted proxy's `sampled` flag counts. A stranger's request joins the trace it names, yet chance decides whether
   * it is sampled, and not the id of that trace, which the stranger chose as well.
   */
  begin(context: RequestContext): void {
    const caller = takeCallerTrace(context.requestHeaders)
    const trace = markSampled(caller ?? startTrace(), this.#samples(caller, context.fromTrustedProxy === true))
    const spanId = newSpanId()
    context.traceparent = toTraceparent(trace, spanId)
    if (!isSampled(trace)) return
    context.trace = new RequestSpans(context, { trace, spanId, parentId: caller?.parentId ?? null }, this.#add)
  }

  #samples(caller: CallerTrace | null, trusted: boolean): boolean {
    if (caller !== null && trusted) return isSampled(caller)
    if (this.#ratio === 1) return true
    // 48 bits of the system's random source: nobody can learn from outside which request comes next.
    return Number.parseInt(randomHex(12), 16) < this.#ratio * 2 ** 48
  }
}
